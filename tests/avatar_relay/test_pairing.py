"""The code and the key exchange of a pairing: the result at each end, and what a man in the middle can learn."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from avatar_relay.pairing import EXCHANGES_PER_HOUR, HOUR_US, Exchange, ExchangeBudget, ExchangeError, PairingKeys, is_code, new_code

CERTIFICATE, OTHER = b"c" * 32, b"o" * 32


def exchange(code: str, typed: str, *, name: str = "lobby", seen: bytes = CERTIFICATE) -> tuple[PairingKeys, PairingKeys]:
    """Return the keys of a device that shows `code` and gets the certificate `seen`, and of a relay given the code `typed`."""
    device = Exchange("device", code, name, seen, os.urandom)
    relay = Exchange("relay", typed, "lobby", CERTIFICATE, os.urandom)
    return device.finish(relay.element), relay.finish(device.element)


def test_both_ends_get_the_same_keys_by_the_same_code() -> None:
    device, relay = exchange("314159", "314159")
    assert device == relay and device.relay != device.device
    assert device.proves("relay", relay.relay) and relay.proves("device", device.device)
    assert not device.proves("relay", relay.device)
    assert device.relay.hex() not in repr(device)


@pytest.mark.parametrize(
    ("typed", "name", "seen"), [("314158", "lobby", CERTIFICATE), ("314159", "hall", CERTIFICATE), ("314159", "lobby", OTHER)]
)
def test_another_code_name_or_certificate_gives_other_keys(typed: str, name: str, seen: bytes) -> None:
    device, relay = exchange("314159", typed, name=name, seen=seen)
    assert not device.proves("relay", relay.relay) and not relay.proves("device", device.device)


@pytest.mark.parametrize("side", ["device", "relay"])
def test_a_transcript_and_a_proof_do_not_single_out_the_code(side: str) -> None:
    """An attacker runs the exchange with an honest end under a wrong guess, keeps transcript and secret, and tests codes on them."""
    code, guess = "271828", "161803"
    honest, false = ("device", "relay") if side == "device" else ("relay", "device")
    victim = Exchange(honest, code, "lobby", CERTIFICATE, os.urandom)  # type: ignore[arg-type]
    secret = os.urandom(64)
    attacker = Exchange(false, guess, "lobby", CERTIFICATE, random.Random(secret).randbytes)  # type: ignore[arg-type]
    proof = victim.finish(attacker.element)
    fitting = []
    for candidate in (code, guess, "000000", "999999", *(new_code(os.urandom) for _ in range(8))):
        again = Exchange(false, candidate, "lobby", CERTIFICATE, random.Random(secret).randbytes)  # type: ignore[arg-type]
        again._spake.outbound_message = attacker._spake.outbound_message  # the attacker did send that
        keys = again.finish(victim.element)
        if keys.relay == proof.relay or keys.device == proof.device:
            fitting.append(candidate)
    assert fitting == []


@given(st.binary(max_size=80))
@example(bytes.fromhex("420000005401014004"))  # the first bytes of an element; the others are zeros
@settings(max_examples=40, deadline=None)
def test_what_is_no_element_is_refused(sent: bytes) -> None:
    with pytest.raises(ExchangeError):
        Exchange("device", "314159", "lobby", CERTIFICATE, os.urandom).finish(sent)


def test_an_element_of_small_order_or_of_ones_own_is_refused() -> None:
    mine = Exchange("device", "314159", "lobby", CERTIFICATE, os.urandom)
    with pytest.raises(ExchangeError):
        mine.finish(b"B" + mine.element[1:])
    for element in (mine.element, b"B" + bytes(32), b"B\x01" + bytes(31)):
        with pytest.raises(ExchangeError):
            Exchange("device", "314159", "lobby", CERTIFICATE, os.urandom).finish(element)


def test_codes_are_six_digits_without_favourites() -> None:
    source = random.Random(1).randbytes
    codes = [new_code(source) for _ in range(20_000)]
    assert all(is_code(code) for code in codes)
    counts = [sum(code[place] == digit for code in codes) for place in range(6) for digit in "0123456789"]
    assert min(counts) > 1_800 and max(counts) < 2_200
    draws = iter([b"\xff\xff\xff\xff", (999_999).to_bytes(4, "big")])
    assert new_code(lambda _: next(draws)) == "999999"  # biased values are drawn again
    assert not any(is_code(text) for text in ("12345", "1234567", "12345a", "١٢٣٤٥٦", ""))


@given(st.lists(st.integers(0, HOUR_US // 4), max_size=200))
def test_no_hour_has_more_exchanges_than_the_budget(steps: list[int]) -> None:
    budget, now_us, taken = ExchangeBudget(), 0, []
    for step in steps:
        now_us += step
        wait_us = budget.wait_us(now_us)
        assert budget.take(now_us) is (wait_us == 0)
        if not wait_us:
            taken.append(now_us)
        assert sum(now_us - HOUR_US < one <= now_us for one in taken) <= EXCHANGES_PER_HOUR
