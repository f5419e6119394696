"""Devices that pair with a relay over real gRPC with TLS, and attackers that try to pair instead of them."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

import grpc
import pytest

from avatar_relay.errors import ConfigError
from avatar_relay.pairing import new_code
from avatar_relay.reasons import Reason
from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import media_pb2 as media
from avatar_relay.v1 import pairing_service_pb2 as pb
from edge_client.link import pairing as device_side
from edge_client.link.pairing_code import CODE_LIFE_US, PairingCode
from edge_client.link.relay_finder import NotOfferedError, SearchStoppedError
from edge_client.paired import Paired, PairingFile
from relay_server.access.pairing_desk import MAX_WAITING
from relay_server.access.scopes import Role
from relay_server.config import RelayConfig
from relay_server.service.pairing import offers_pairing
from tests.relay_server.access.guarded import Access, Authority, code_of_messages, trusting
from tests.relay_server.service.unpaired import ATTACH, PAIR, PATIENCE_S, desk, in_between, waiting


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_side, "AGAIN_S", 0.05)


def wrong(shown: str) -> str:
    code = shown[-6:]
    return next(other for other in ("000000", "111111") if other != code)


async def test_two_devices_pair_at_once_and_attach(authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with desk(authority, tmp_path / "relay") as relay:
        with waiting(relay.address, tmp_path, "lobby", "hall-1") as devices:
            shown = [await device.shows() for device in devices]
            codes = await asyncio.gather(relay.pair(shown[0]), relay.pair(shown[1], device_id="hall.left"))
            assert set(codes) == {(grpc.StatusCode.OK, None)}
            paired = [await asyncio.wait_for(device.ends, PATIENCE_S) for device in devices]
        assert [one.device_id for one in paired] == ["lobby", "hall.left"]
        for one, its in zip(paired, devices, strict=True):
            assert its.file.read() == one
            assert its.file.path.stat().st_mode & 0o777 == 0o600
            ping = device_pb.AttachRequest(ping=media.Ping(id=1))
            assert await relay.call(ATTACH, one.token, ping) == (grpc.StatusCode.INVALID_ARGUMENT, Reason.HELLO_MISSING)  # admitted at once
            assert one.token not in caplog.text and one.token not in repr(one)
        assert "let this device in by `relayctl pair lobby-" in caplog.text
        assert {"device lobby", "device hall.left"} <= set(relay.access.file.load().identities)


async def test_a_wrong_code_lets_nobody_in_and_three_renew_it(authority: Authority, tmp_path: Path) -> None:
    async with desk(authority, tmp_path / "relay") as relay:
        with waiting(relay.address, tmp_path, "lobby") as (device,):
            shown = await device.shows()
            for _ in range(3):
                assert await device.shows() == shown
                assert await relay.pair(shown, wrong(shown)) == (grpc.StatusCode.FAILED_PRECONDITION, Reason.PAIRING_FAILED)
                await device.hidden()
            renewed = await device.shows(but=shown)
            assert await relay.pair(shown) == (grpc.StatusCode.FAILED_PRECONDITION, Reason.PAIRING_FAILED)  # it has expired
            await device.hidden()
            assert "device lobby" not in relay.access.file.load().identities
            assert await device.shows() == renewed
            assert await relay.pair(renewed) == (grpc.StatusCode.OK, None)
            assert (await asyncio.wait_for(device.ends, PATIENCE_S)).device_id == "lobby"


async def test_a_code_expires_after_a_minute(authority: Authority, tmp_path: Path) -> None:
    async with desk(authority, tmp_path / "relay") as relay:
        with waiting(relay.address, tmp_path, "lobby") as (device,):
            expired = await device.shows()
            device.ahead_us += CODE_LIFE_US
            await device.shows(but=expired)
            assert await relay.pair(expired) == (grpc.StatusCode.FAILED_PRECONDITION, Reason.PAIRING_FAILED)
            await device.hidden()
            assert await relay.pair(await device.shows()) == (grpc.StatusCode.OK, None)
            assert (await asyncio.wait_for(device.ends, PATIENCE_S)).device_id == "lobby"


async def test_an_operator_is_told_what_cannot_be(authority: Authority, tmp_path: Path) -> None:
    async with desk(authority, tmp_path / "relay") as relay:
        relay.access.add(Role.DEVICE, "lobby")
        clerk = relay.access.add(Role.OPERATOR, "clerk", devices=("hall-*",))
        assert relay.relay.guard is not None
        await relay.relay.guard.read_again()
        with waiting(relay.address, tmp_path, "lobby") as (device,):
            shown = await device.shows()
            assert await relay.pair("nobody-123456") == (grpc.StatusCode.NOT_FOUND, Reason.PAIRING_UNKNOWN)
            assert await relay.pair("lobby-12345") == (grpc.StatusCode.INVALID_ARGUMENT, Reason.MESSAGE_INVALID)
            assert await relay.pair(shown) == (grpc.StatusCode.ALREADY_EXISTS, Reason.DEVICE_EXISTS)
            own, relay.token = relay.token, clerk
            assert await relay.pair(shown, replace=True) == (grpc.StatusCode.PERMISSION_DENIED, Reason.DEVICE_FORBIDDEN)
            relay.token = own
            (old,) = relay.access.file.load().identities["device lobby"].tokens
            assert await relay.pair(shown, replace=True) == (grpc.StatusCode.OK, None)
            (new,) = relay.access.file.load().identities["device lobby"].tokens
            assert new != old


async def test_a_man_in_the_middle_with_his_own_certificate_never_completes(authority: Authority, tmp_path: Path) -> None:
    async with desk(authority, tmp_path / "relay") as relay, in_between(relay.address, tmp_path / "evil") as middle:
        with waiting(middle, tmp_path, "lobby") as (device,):
            for _ in range(4):
                shown = await device.shows()
                assert await relay.pair(shown) == (grpc.StatusCode.FAILED_PRECONDITION, Reason.PAIRING_FAILED)
                await device.hidden()
            assert not device.ends.done()
            assert device.file.read() is None
            assert "device lobby" not in relay.access.file.load().identities
            device.stopped.set()
            with pytest.raises(SearchStoppedError):
                await asyncio.wait_for(device.ends, PATIENCE_S)


async def test_a_false_relay_gets_no_more_guesses_than_the_budget(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It guesses as fast as possible. Its own budget is lifted; the device's budget limits it."""
    monkeypatch.setattr("avatar_relay.pairing.ExchangeBudget.wait_us", lambda self, now_us: 0)
    monkeypatch.setattr("relay_server.access.pairing_desk.ExchangeBudget.take", lambda self, now_us: True)
    began: list[str | None] = []
    original = PairingCode.begin

    def begin(self: PairingCode, now_us: int) -> str | None:
        code = original(self, now_us) if len(began) < 5 else None  # a budget of five, so that the test is quick
        began.append(code)
        return code

    monkeypatch.setattr(PairingCode, "begin", begin)
    async with desk(authority, tmp_path / "relay") as relay:
        with waiting(relay.address, tmp_path, "lobby") as (device,):
            for _ in range(7):
                shown = await device.shows()
                status, _ = await relay.pair(shown, wrong(shown))
                assert status is grpc.StatusCode.FAILED_PRECONDITION
                await device.hidden()
            shown = await device.shows()
            assert await relay.pair(shown) == (grpc.StatusCode.FAILED_PRECONDITION, Reason.PAIRING_FAILED)  # not even the right one
            assert not device.ends.done()
    assert [code is not None for code in began] == [True] * 5 + [False] * 3


async def test_strangers_wait_in_order_and_say_nothing_unasked(authority: Authority, tmp_path: Path) -> None:
    async with desk(authority, tmp_path / "relay") as relay, grpc.aio.secure_channel(relay.address, trusting(authority)) as channel:
        begin: Any = channel.stream_stream(PAIR, pb.PairRequest.SerializeToString, pb.PairResponse.FromString)
        calls = []
        for number in range(MAX_WAITING + 1):
            call = begin()
            await call.write(pb.PairRequest(wait=pb.PairingWait(name=f"stranger-{number}")))
            calls.append(call)
            if number < MAX_WAITING:
                assert (await call.read()).HasField("waiting")
        async with asyncio.timeout(PATIENCE_S):
            assert await calls[-1].code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await calls[0].write(pb.PairRequest(stored=pb.PairingStored()))
        async with asyncio.timeout(PATIENCE_S):
            assert await calls[0].code() is grpc.StatusCode.INVALID_ARGUMENT
        for sent in (b"\xff\xff", b"x" * 2_000, pb.PairRequest(wait=pb.PairingWait(name="../etc")).SerializeToString()):
            code, reason = await code_of_messages(channel, PAIR, [sent])
            assert code is grpc.StatusCode.INVALID_ARGUMENT and reason in (Reason.MESSAGE_INVALID, Reason.MESSAGE_TOO_LARGE)
        for call in calls:
            call.cancel()


async def test_without_pairing_there_is_no_such_service(authority: Authority, tmp_path: Path) -> None:
    async with desk(authority, tmp_path / "relay", pairing="off") as relay:
        assert await relay.pair("lobby-123456") == (grpc.StatusCode.FAILED_PRECONDITION, Reason.PAIRING_FAILED)
        with waiting(relay.address, tmp_path, "lobby") as (device,), pytest.raises(NotOfferedError):
            await asyncio.wait_for(device.ends, PATIENCE_S)


async def test_a_device_trusts_the_authority_that_it_is_handed(authority: Authority, tmp_path: Path) -> None:
    """The relay's certificate can then be renewed."""
    async with desk(authority, tmp_path / "relay", pairing_ca_file=authority.certificate) as relay:
        with waiting(relay.address, tmp_path, "lobby") as (device,):
            assert await relay.pair(await device.shows()) == (grpc.StatusCode.OK, None)
            paired = await asyncio.wait_for(device.ends, PATIENCE_S)
    assert paired.certificates == authority.certificate.read_text()
    assert paired.certificate_name == "localhost"


def test_pairing_needs_a_relay_that_can(authority: Authority, tmp_path: Path) -> None:
    assert not offers_pairing(RelayConfig())
    with pytest.raises(ConfigError, match="pairing: needs tls_cert_file"):
        offers_pairing(RelayConfig(pairing="on"))
    certificate, key = authority.issue("localhost", "relay")
    access = Access(tmp_path)
    usable: dict[str, Any] = {"access_file": access.path, "tls_cert_file": certificate, "tls_key_file": key}
    assert offers_pairing(RelayConfig(**usable)) and not offers_pairing(RelayConfig(**usable, pairing="off"))
    with pytest.raises(ConfigError, match="no tls_client_ca_file"):
        offers_pairing(RelayConfig(**usable, pairing="on", tls_client_ca_file=authority.certificate))


def test_what_is_no_pairing_is_told_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = PairingFile(tmp_path)
    good = Paired("127.0.0.1:1", "vm", "lobby", "-----BEGIN CERTIFICATE-----", "localhost", f"avr_{new_code(os.urandom)}")
    assert file.read() is None and not caplog.records
    assert file.write(good) and file.read() == good
    written = file.path.read_text()
    for bad in ('{"token": 1}', '{"address": "a"}', written.replace("lobby", "../x"), written.replace("BEGIN", "")):
        file.path.write_text(bad)
        assert file.read() is None
    assert caplog.text.count("the device pairs anew") == 4 and good.token not in caplog.text
