"""Nods and brow beats in the engine, on virtual time: only for what the motion of a conversation does not move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.media import Kind, MotionFormat, Pacing, Payload
from avatar_relay.messages import ConversationEnd, Media
from edge_client.motion.gestures import NOD_RAD
from edge_client.motion.pose import NECK_ROTATION
from edge_client.playback.events import PlaybackConfig
from tests.edge_client.motion.test_gestures import syllables
from tests.edge_client.playback_bench import JAW, RATE_HZ, Bench, audio_payloads, open_

BROW = ARKIT_INDEX["browInnerUp"]
KEYFRAMES = 50


def moved(columns: tuple[str, ...] | None, value: float, *, pacing: Pacing = Pacing.BURST, gestures: bool = True) -> tuple[float, float]:
    """How far neck and brow moved while two stressed syllables were heard; the last column of the motion has this value throughout."""
    slow = syllables((0.6, 0.9), (1.4, 0.9), seconds=2.0)
    pcm = np.repeat(slow, RATE_HZ // 16_000)
    bench = Bench(config=PlaybackConfig(gestures=gestures))
    motion = None if columns is None else replace(JAW, blendshape_names=columns)
    bench.handle(open_("a", motion=motion, pacing=pacing))
    if isinstance(motion, MotionFormat):
        rows = np.zeros((KEYFRAMES, len(motion.blendshape_names)), "<f4")
        rows[:, -1] = value
        bench.handle(Media("a", (Payload(Kind.MOTION, 1, rows.tobytes(), 0, KEYFRAMES * 40_000),)))
    bench.handle(Media("a", audio_payloads(pcm)), ConversationEnd("a", len(audio_payloads(pcm)), 0 if motion is None else 1))
    bench.run(3_500_000)
    poses = np.array([view.motion for _, view in bench.views if view.motion is not None])
    assert abs(poses[-1][NECK_ROTATION.start]) < 1e-3
    return float(np.ptp(poses[:, NECK_ROTATION.start])), float(np.ptp(poses[:, BROW]))


@pytest.mark.parametrize("columns", [None, ("jawOpen",), ("jawOpen", "browInnerUp"), ("jawOpen", "headYaw")])
def test_speech_without_head_and_brows_gets_both(columns: tuple[str, ...] | None) -> None:
    """Speech without motion, with a mouth only, or with columns at rest gets both nods and brow beats."""
    nod, brow = moved(columns, 0.0)
    assert 0.4 * NOD_RAD < nod <= NOD_RAD
    assert 0.1 < brow < 0.4


def test_motion_with_a_head_keeps_its_head_and_motion_with_brows_its_brows() -> None:
    """Bit for bit, from the first picture on: motion is known ahead of its sound."""
    nod, brow = moved(("jawOpen", "headPitch"), 0.2)
    assert nod == 0
    assert brow > 0.1
    nod, brow = moved(("jawOpen", "browInnerUp"), 0.2)
    assert nod > 0.4 * NOD_RAD
    assert brow == pytest.approx(0.2, abs=0.01)  # it eases in with the motion


def test_live_speech_has_them_and_they_can_be_switched_off() -> None:
    """In `LIVE` too; the setting is like `idle_life`."""
    assert moved(None, 0.0, pacing=Pacing.LIVE)[0] > 0.4 * NOD_RAD
    assert moved(None, 0.0, gestures=False) == (0.0, 0.0)
