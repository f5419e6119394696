"""The face is attentive when a conversation begins."""

from __future__ import annotations

import numpy as np
import pytest

from avatar_relay.arkit import ARKIT_INDEX
from edge_client.face.attention import FALL_US, HOLD_US, RISE_US, Attention, attentive
from edge_client.face.idle import IdleLife
from edge_client.motion.pose import BLENDSHAPES, LEFT_EYE_ROTATION
from edge_client.playback.events import PlayerState

STEP_US = 10_000


def levels(attention: Attention, state: PlayerState, start_us: int, us: int) -> list[float]:
    """Requested every 10 ms."""
    return [attention.level(state, now_us) for now_us in range(start_us, start_us + us, STEP_US)]


def test_it_rises_holds_and_falls() -> None:
    """None at rest; full soon after a conversation begins; gone some time after it is heard, until the next one."""
    attention = Attention()
    assert max(levels(attention, PlayerState.IDLE, 0, 1_000_000)) == 0
    rising = levels(attention, PlayerState.BUFFERING, 1_000_000, RISE_US + 2 * STEP_US)
    assert rising[0] < 0.1 and rising[-1] == 1
    start_us = 1_000_000 + len(rising) * STEP_US
    heard = levels(attention, PlayerState.PLAYING, start_us, HOLD_US + FALL_US + 2 * STEP_US)
    assert heard[HOLD_US // STEP_US // 2] == 1
    assert heard[-1] == pytest.approx(0, abs=1e-9)
    assert max(np.abs(np.diff(rising + heard))) < 0.05
    assert max(levels(attention, PlayerState.PLAYING, start_us + 3_000_000, 5_000_000)) == 0


def test_a_conversation_that_begins_at_once_is_attended_too() -> None:
    """Buffering may be over between two pictures."""
    attention = Attention()
    attention.level(PlayerState.IDLE, 0)
    assert levels(attention, PlayerState.PLAYING, STEP_US, RISE_US + 2 * STEP_US)[-1] == 1


def test_eyes_come_home_and_brows_rise() -> None:
    """Everything else is from idle motion, and no weight exceeds its limits."""
    idle = next(pose for pose in (IdleLife(3).pose(second) for second in range(100)) if abs(pose[LEFT_EYE_ROTATION]).max() > 0.05)
    full = attentive(idle, 1.0)
    assert abs(full[LEFT_EYE_ROTATION]).max() == 0
    assert full[ARKIT_INDEX["browInnerUp"]] == pytest.approx(idle[ARKIT_INDEX["browInnerUp"]] + 0.12)
    assert (full[BLENDSHAPES] >= 0).all() and (full[BLENDSHAPES] <= 1).all()
    assert attentive(idle, 0.0) is idle
