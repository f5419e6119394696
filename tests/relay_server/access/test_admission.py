"""Admission by itself, on a clock that tests advance."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.reasons import Reason
from relay_server.access.admission import FAILURES_PER_MINUTE, STRANGERS_CALLS_PER_MINUTE, Admission, PresentedCredentials
from relay_server.access.identities import Directory, Identity
from relay_server.access.peers import host_of
from relay_server.access.rate_limits import RateLimits
from relay_server.access.scopes import Role, Scope
from relay_server.access.tokens import TokenRecord, make_token, split_token
from relay_server.errors import RequestError

LIST = "/avatar_relay.v1.AdminService/ListDevices"
ATTACH = "/avatar_relay.v1.DeviceService/Attach"
PEER = "ipv4:192.0.2.7:4711"
MINUTE_US = 60_000_000


def random_bytes() -> Callable[[int], bytes]:
    """Consecutive numbers instead of random ones."""
    numbers = itertools.count(1)
    return lambda count: next(numbers).to_bytes(count, "big")


RANDOM = random_bytes()


def issue(role: Role = Role.OPERATOR, name: str = "ann", **more: object) -> tuple[Identity, str]:
    """Return an identity with a token."""
    token, record = make_token(RANDOM, 0)
    devices = () if role is Role.DEVICE else ("*",)
    return Identity(role=role, name=name, devices=devices, tokens=(record,), **more), token  # type: ignore[arg-type]


def refusal(door: Admission, shown: PresentedCredentials, *, method: str = LIST, peer: str = PEER, now_us: int = 0) -> Reason | None:
    """Return why a caller is refused; None if it was admitted, and has left again."""
    try:
        door.leave(door.enter(method, shown, peer, now_us, 1))
    except RequestError as error:
        return error.fault.reason
    return None


def wrong(token: str) -> PresentedCredentials:
    """A token with the given id and another secret."""
    return PresentedCredentials(token[:-64] + "0" * 64)


def test_failed_attempts_are_limited() -> None:
    """Past the limit even the right secret is not checked until the bucket has refilled a little."""
    identity, token = issue()
    door = Admission(Directory([identity]), {})
    reasons = [refusal(door, wrong(token)) for _ in range(FAILURES_PER_MINUTE + 1)]
    assert reasons == [Reason.CREDENTIALS_INVALID] * FAILURES_PER_MINUTE + [Reason.LIMIT_REACHED]
    assert refusal(door, PresentedCredentials(token)) is Reason.LIMIT_REACHED
    assert refusal(door, PresentedCredentials(token), now_us=MINUTE_US // FAILURES_PER_MINUTE) is None


def test_neighbours_do_not_feel_anothers_failures() -> None:
    """Neither another token from the same address, nor the same token from another address, is affected."""
    (one, one_token), (two, two_token) = issue(name="one"), issue(name="two")
    door = Admission(Directory([one, two]), {})
    for _ in range(2 * FAILURES_PER_MINUTE):
        refusal(door, wrong(one_token))
        refusal(door, PresentedCredentials("nonsense"))
        refusal(door, PresentedCredentials())
    assert refusal(door, PresentedCredentials("nonsense")) is Reason.LIMIT_REACHED
    assert refusal(door, PresentedCredentials(two_token)) is None
    assert refusal(door, PresentedCredentials(one_token), peer="ipv4:192.0.2.8:1") is None


def test_calls_of_an_identity_are_limited() -> None:
    """A minute's allowance at once, then at the refill rate; another identity is not affected."""
    one, one_token = issue(name="one", calls_per_minute=6)
    two, two_token = issue(name="two")
    door = Admission(Directory([one, two]), {})
    assert [refusal(door, PresentedCredentials(one_token)) for _ in range(7)] == [None] * 6 + [Reason.LIMIT_REACHED]
    assert refusal(door, PresentedCredentials(two_token)) is None
    assert refusal(door, PresentedCredentials(one_token), now_us=MINUTE_US // 6) is None


def test_strangers_ask_for_health_only_so_often() -> None:
    """Limited per address."""
    door, check = Admission(Directory(), {}), "/grpc.health.v1.Health/Check"
    reasons = [refusal(door, PresentedCredentials(), method=check) for _ in range(STRANGERS_CALLS_PER_MINUTE + 1)]
    assert reasons == [None] * STRANGERS_CALLS_PER_MINUTE + [Reason.LIMIT_REACHED]
    assert refusal(door, PresentedCredentials(), method=check, peer="ipv4:192.0.2.8:1") is None


def test_strangers_do_not_use_up_the_health_checks_of_callers_with_credentials() -> None:
    """Behind one address, a supervisor with a token and one with a certificate have separate limits."""
    device = Identity(role=Role.DEVICE, name="lobby", certificate="lobby.example", calls_per_minute=6)
    operator, token = issue()
    door, check = Admission(Directory([device, operator]), {}), "/grpc.health.v1.Health/Check"
    while refusal(door, PresentedCredentials(), method=check) is None:
        pass
    by_certificate = PresentedCredentials(None, ("lobby.example",))
    assert refusal(door, PresentedCredentials(token), method=check) is None
    assert [refusal(door, by_certificate, method=check) for _ in range(7)] == [None] * 6 + [Reason.LIMIT_REACHED]
    assert refusal(door, PresentedCredentials(None, ("other.example",)), method=check) is Reason.LIMIT_REACHED


def test_who_is_in_leaves_when_its_time_is_up() -> None:
    """When its token or its identity expires; not before."""
    token, record = make_token(RANDOM, 0, 100)
    identity = Identity(role=Role.OPERATOR, name="ann", devices=("*",), tokens=(record,))
    door = Admission(Directory([identity]), {})
    entrant = door.enter(LIST, PresentedCredentials(token), PEER, 0, 99)
    assert door.expulsion(entrant, 99) is None
    expired = door.expulsion(entrant, 100)
    door.replace(Directory())
    gone = door.expulsion(entrant, 99)
    assert expired is not None
    assert gone is not None
    assert (expired.reason, gone.reason) == (Reason.CREDENTIALS_EXPIRED, Reason.CREDENTIALS_REVOKED)


def test_a_certificate_is_as_good_as_the_name_in_it() -> None:
    """If a token is also presented, the token decides."""
    device = Identity(role=Role.DEVICE, name="lobby", certificate="lobby.example")
    operator, token = issue()
    door = Admission(Directory([device, operator]), {})
    assert refusal(door, PresentedCredentials(None, ("lobby.example",)), method=ATTACH) is None
    assert refusal(door, PresentedCredentials(None, ("other.example",)), method=ATTACH) is Reason.CREDENTIALS_INVALID
    assert refusal(door, PresentedCredentials(token, ("lobby.example",)), method=ATTACH) is Reason.RPC_FORBIDDEN
    assert refusal(door, PresentedCredentials("avr_x", ("lobby.example",)), method=ATTACH) is Reason.CREDENTIALS_INVALID


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:192.0.2.7:4711", "192.0.2.7"),
        ("ipv6:%5B::1%5D:46616", "::"),
        ("ipv6:[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2::"),
        ("ipv6:%5Bfe80::1%25eth0%5D:1", "fe80::"),
        ("ipv6:[::ffff:192.0.2.7]:1", "192.0.2.7"),
        ("unix:/run/relay.sock", "unix"),
        ("", ""),
    ],
)
def test_peers_are_told_apart_by_address(peer: str, host: str) -> None:
    """The port is ignored; IPv6 is compared by the network assigned to one customer."""
    assert host_of(peer) == host


@given(st.lists(st.tuples(st.integers(0, 20_000_000), st.booleans()), max_size=60), st.integers(1, 60))
def test_a_bucket_gives_no_more_than_it_has(steps: list[tuple[int, bool]], per_minute: int) -> None:
    """In any minute at most the initial fill plus the refill; a caller that waits the reported time succeeds."""
    buckets, now_us, taken = RateLimits(4), 0, []
    for pause_us, patient in steps:
        now_us += pause_us
        wait_ms = buckets.take("key", per_minute, now_us)
        if wait_ms and patient:
            now_us += wait_ms * 1_000
            wait_ms = buckets.take("key", per_minute, now_us)
            assert wait_ms == 0
        if wait_ms == 0:
            taken.append(now_us)
    for index, first_us in enumerate(taken):
        assert len([at for at in taken[index:] if at < first_us + MINUTE_US]) <= 2 * per_minute


def test_buckets_remember_only_so_many() -> None:
    """The least recently used one is forgotten first."""
    buckets = RateLimits(2)
    for key in ("a", "b", "c"):
        assert buckets.take(key, 1, 0) == 0
    assert buckets.take("c", 1, 0) > 0
    assert buckets.take("a", 1, 0) == 0


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_only_the_secret_itself_matches(one: bytes, other: bytes) -> None:
    """Neither the secret nor its plain hash is stored."""
    parts = iter([bytes(8), b"s" * 16, one])
    token, record = make_token(lambda _: next(parts), 0)
    token_id, secret = split_token(token)
    assert record.token_id == token_id
    assert record.matches(secret)
    assert record.matches(other.hex()) is (one == other)
    assert one not in record.salt + record.digest


def test_the_same_secret_is_kept_differently_each_time() -> None:
    """The salt makes a table of hashes useless."""
    digests = set()
    for number in range(3):
        parts = iter([bytes(8), bytes([number]) * 16, b"x" * 32])
        digests.add(make_token(lambda _: next(parts), 0)[1].digest)  # noqa: B023 - called at once
    assert len(digests) == 3


@pytest.mark.parametrize(
    "text", ["", "avr_", "avr_12_34", "Bearer x", "avr_" + "0" * 16 + "_" + "0" * 63, "avr_" + "0" * 16 + "_" + "g" * 64]
)
def test_what_has_not_the_form_is_no_token(text: str) -> None:
    """A malformed token matches no identity."""
    assert split_token(text) == ("", "")


NAMES = st.sampled_from(["a", "b", "ab", "a*", "b*", "*", "g", "h"])


@given(st.lists(NAMES, max_size=4), st.sampled_from(["a", "b", "ab", "abc", "c"]))
def test_a_scope_covers_what_it_names(names: list[str], device: str) -> None:
    """Exact matching: by name, by prefix, or by a group that contains it."""
    groups = {"g": ("a", "c"), "h": ("b",)}
    named = device in names or any(name.endswith("*") and device.startswith(name[:-1]) for name in names)
    grouped = any(
        device in members and (group in names or any(name.endswith("*") and group.startswith(name[:-1]) for name in names))
        for group, members in groups.items()
    )
    assert Scope(tuple(names), groups).covers(device) is (named or grouped)


def test_an_expired_token_is_one_from_its_second_on() -> None:
    """A token is expired from its expiry second on; 0 never expires."""
    assert TokenRecord("", b"", b"", 0, 10).expired(10)
    assert not TokenRecord("", b"", b"", 0, 10).expired(9)
    assert not TokenRecord("", b"", b"", 0, 0).expired(1 << 40)
