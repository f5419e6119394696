"""Devices that may wait for pairing, and pairings that an operator can start."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.pairing import EXCHANGES_PER_HOUR, HOUR_US
from avatar_relay.reasons import Reason
from relay_server.access.pairing_desk import MAX_WAITING, PairingDesk
from relay_server.errors import RequestError


def refusal(desk: PairingDesk[int], name: str, now_us: int = 0) -> Reason:
    with pytest.raises(RequestError) as caught:
        desk.begin(name, now_us)
    return caught.value.fault.reason


def test_one_of_a_name_is_given_once_at_a_time() -> None:
    desk: PairingDesk[int] = PairingDesk()
    desk.join(1, "lobby")
    assert refusal(desk, "hall") is Reason.PAIRING_UNKNOWN
    assert desk.begin("lobby", 0) == 1
    assert refusal(desk, "lobby") is Reason.PAIRING_FAILED
    desk.leave(1)
    desk.leave(1)
    assert refusal(desk, "lobby") is Reason.PAIRING_UNKNOWN


def test_two_of_one_name_are_left_alone() -> None:
    desk: PairingDesk[int] = PairingDesk()
    desk.join(1, "lobby")
    desk.join(2, "lobby")
    assert refusal(desk, "lobby") is Reason.PAIRING_FAILED
    desk.leave(1)
    assert desk.begin("lobby", 0) == 2


def test_so_many_wait_and_no_more() -> None:
    desk: PairingDesk[int] = PairingDesk()
    for number in range(MAX_WAITING):
        desk.join(number, f"device-{number}")
    with pytest.raises(RequestError) as caught:
        desk.join(99, "one-more")
    assert caught.value.fault.reason is Reason.LIMIT_REACHED
    desk.leave(3)
    desk.join(99, "one-more")


@given(st.lists(st.tuples(st.integers(0, HOUR_US // 10), st.sampled_from(["a", "b", "c"])), max_size=150))
def test_operators_begin_no_more_than_the_budget(steps: list[tuple[int, str]]) -> None:
    desk: PairingDesk[str] = PairingDesk()
    now_us, began = 0, []
    for step_us, name in steps:
        now_us += step_us
        desk.leave(name)
        desk.join(name, name)
        try:
            desk.begin(name, now_us)
        except RequestError as error:
            assert error.fault.reason is Reason.LIMIT_REACHED and error.fault.retry_after_ms > 0
        else:
            began.append(now_us)
        assert sum(now_us - HOUR_US < one <= now_us for one in began) <= EXCHANGES_PER_HOUR
