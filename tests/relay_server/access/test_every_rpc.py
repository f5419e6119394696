"""Access to every RPC by every kind of caller."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode as Code

from avatar_relay.reasons import Reason
from avatar_relay.v1 import admin_service_pb2, device_service_pb2, publisher_service_pb2
from relay_server.access.scopes import RPCS, Role, is_granted
from tests.relay_server.access.guarded import PATIENCE_S, Access, code_of, guarded
from tests.relay_server.service.wired import wired

OURS = {
    f"/{service.full_name}/{method.name}": method.name
    for module in (device_service_pb2, publisher_service_pb2, admin_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
HEALTH_CHECK, HEALTH_WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
CHANNELZ = "/grpc.channelz.v1.Channelz/GetServers"
ENDLESS = {HEALTH_WATCH, "/avatar_relay.v1.AdminService/WatchEvents"}
"""RPCs that do not end once admitted: a short wait is enough."""
GUARDED = (*OURS, REFLECTION, HEALTH_WATCH, CHANNELZ)
ADMIN = {method for method in OURS if "AdminService" in method}

Shown = str | None


def nothing(_: Access) -> Shown:
    return None


def rubbish(_: Access) -> Shown:
    return "let-me-in"


def unknown(_: Access) -> Shown:
    return f"avr_{secrets.token_hex(8)}_{secrets.token_hex(32)}"


def wrong_secret(access: Access) -> Shown:
    """A token with a known id and a wrong secret."""
    token = access.add(Role.OPERATOR, "guessed", devices=("*",))
    return token[:-64] + secrets.token_hex(32)


def expired(access: Access) -> Shown:
    return access.add(Role.OPERATOR, "late", devices=("*",), life_s=-5)


def revoked(access: Access) -> Shown:
    token = access.add(Role.OPERATOR, "gone", devices=("*",))
    access.revoke(Role.OPERATOR, "gone")
    return token


def rotated_away(access: Access) -> Shown:
    token = access.add(Role.OPERATOR, "renewed", devices=("*",))
    access.rotate(Role.OPERATOR, "renewed")
    return token


@pytest.mark.parametrize(
    ("show", "reason"),
    [
        (nothing, Reason.CREDENTIALS_MISSING),
        (rubbish, Reason.CREDENTIALS_INVALID),
        (unknown, Reason.CREDENTIALS_INVALID),
        (wrong_secret, Reason.CREDENTIALS_INVALID),
        (expired, Reason.CREDENTIALS_EXPIRED),
        (revoked, Reason.CREDENTIALS_REVOKED),
        (rotated_away, Reason.CREDENTIALS_INVALID),
    ],
)
async def test_wrong_credentials_open_nothing(tmp_path: Path, show: Callable[[Access], Shown], reason: Reason) -> None:
    """Every RPC of every service but health's Check is refused, with the same reason."""
    access = Access(tmp_path)
    token = show(access)
    async with guarded(access, channelz=True) as relay:
        answers = {method: await code_of(relay.channel, method, token) for method in GUARDED}
    assert answers == dict.fromkeys(GUARDED, (Code.UNAUTHENTICATED, reason))


def wait_s(method: str, endless: Collection[str] = ENDLESS) -> float:
    """Time to wait for the end of an RPC."""
    return 0.3 if method in endless else PATIENCE_S


def right(role: Role) -> Iterator[str]:
    """What an identity of a role may call: restated here by hand."""
    yield from (REFLECTION, HEALTH_WATCH, HEALTH_CHECK)
    match role:
        case Role.DEVICE:
            yield "/avatar_relay.v1.DeviceService/Attach"
        case Role.PUBLISHER:
            yield "/avatar_relay.v1.PublisherService/Publish"
        case Role.OPERATOR:
            yield from (*ADMIN, CHANNELZ)


@pytest.mark.parametrize("role", Role)
async def test_each_role_opens_its_own_and_no_other(tmp_path: Path, role: Role) -> None:
    """An RPC of another role is PERMISSION_DENIED; an RPC of its own gets as far as its request, which is empty here."""
    access = Access(tmp_path)
    token = access.add(role, "lobby", devices=() if role is Role.DEVICE else ("*",))
    async with guarded(access, channelz=True) as relay:
        endless = ENDLESS & set(right(role))
        answers = {
            method: await code_of(relay.channel, method, token, wait_s=wait_s(method, endless)) for method in (*GUARDED, HEALTH_CHECK)
        }
    opened = {method for method, (code, _) in answers.items() if code not in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)}
    assert opened == set(right(role))
    refused = {answer for method, answer in answers.items() if method not in opened}
    assert refused == {(Code.PERMISSION_DENIED, Reason.RPC_FORBIDDEN)}


async def test_grants_narrow_a_role(tmp_path: Path) -> None:
    """A read-only identity may not steer."""
    access = Access(tmp_path)
    token = access.add(Role.OPERATOR, "screen", devices=("*",), rpcs=frozenset({"ListDevices", "WatchEvents"}))
    async with guarded(access) as relay:
        answers = {method.rpartition("/")[2]: (await code_of(relay.channel, method, token, wait_s=wait_s(method)))[0] for method in ADMIN}
    assert {name for name, code in answers.items() if code is Code.OK} == {"ListDevices", "WatchEvents"}


async def test_health_is_answered_to_everybody(tmp_path: Path) -> None:
    """A supervisor has no token; one that presents a wrong token gets an error."""
    async with guarded(Access(tmp_path)) as relay:
        assert (await code_of(relay.channel, HEALTH_CHECK))[0] is Code.OK
        assert (await code_of(relay.channel, HEALTH_CHECK, "wrong"))[0] is Code.UNAUTHENTICATED


async def test_a_header_of_another_form_is_no_token(tmp_path: Path) -> None:
    """Another scheme, two headers, and a token in the wrong place."""
    access = Access(tmp_path)
    token = access.add(Role.OPERATOR, "ann", devices=("*",))
    headers = [
        (("authorization", f"Basic {token}"),),
        (("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")),
        (("authorization", token),),
        (("token", token),),
    ]
    async with guarded(access) as relay:
        for metadata in headers:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await relay.admin.ListDevices(admin_service_pb2.ListDevicesRequest(), metadata=metadata)
            assert caught.value.code() is Code.UNAUTHENTICATED
        shown = (("authorization", f"bearer {token}"),)
        assert not (await relay.admin.ListDevices(admin_service_pb2.ListDevicesRequest(), metadata=shown)).devices


async def test_without_an_access_file_everything_is_open() -> None:
    """As on a developer's machine."""
    async with wired() as relay:
        for method in OURS:
            code, reason = await code_of(relay.channel, method, wait_s=wait_s(method))
            assert (code, reason) != (Code.UNAUTHENTICATED, Reason.CREDENTIALS_MISSING)
            assert code is not Code.PERMISSION_DENIED


def test_every_rpc_is_in_a_role() -> None:
    """A new RPC without a role could be called by nobody: it must be added to one."""
    granted_by = {name: name for name in OURS.values()} | {"SetMuted": "SetVolume"}
    assert {*granted_by.values(), "Channelz"} == set().union(*RPCS.values())
    for method, name in OURS.items():
        assert is_granted(method, frozenset({granted_by[name]}))
        assert not is_granted(method, frozenset(set(OURS.values()) - {granted_by[name]}))
