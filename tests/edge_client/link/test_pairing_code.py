"""The code on a device's screen: its lifetime, and the number of guesses allowed."""

from __future__ import annotations

import os
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.pairing import EXCHANGES_PER_HOUR, HOUR_US
from edge_client.link.pairing_code import CODE_LIFE_US, TRIES, PairingCode


def test_a_code_lives_for_a_minute_or_three_tries() -> None:
    code = PairingCode(os.urandom, 0)
    first = code.code
    assert not code.look(CODE_LIFE_US - 1) and code.look(CODE_LIFE_US)
    second = code.code
    assert first != second
    assert [code.begin(CODE_LIFE_US + at) for at in range(TRIES)] == [second] * TRIES
    assert code.begin(CODE_LIFE_US + TRIES) not in (second, None)


@given(st.lists(st.tuples(st.integers(0, 200_000_000), st.booleans()), max_size=150))
def test_guesses_never_exceed_the_budget(steps: list[tuple[int, bool]]) -> None:
    """Guesses never exceed the budget, whatever a false relay does, and when."""
    code, now_us = PairingCode(os.urandom, 0), 0
    began: list[int] = []
    generations: Counter[tuple[str, int]] = Counter()
    renewals = 0
    for step_us, begins in steps:
        now_us += step_us
        if not begins:
            renewals += code.look(now_us)
            continue
        before = code.code
        given_code = code.begin(now_us)
        renewals += code.code != before
        if given_code is None:
            assert code.rests_us(now_us) > 0
            continue
        assert given_code == code.code
        began.append(now_us)
        generations[given_code, renewals] += 1
    assert all(count <= TRIES for count in generations.values())
    assert all(sum(at - HOUR_US < one <= at for one in began) <= EXCHANGES_PER_HOUR for at in began)
