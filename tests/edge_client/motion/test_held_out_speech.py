"""Held-out speech, without motion: the limits also hold for it. By the mesh; `mouth/score_without_motion` has pixels."""

from __future__ import annotations

import pytest

from tests.lab.mouth.score_sources import opened
from tests.lab.mouth.score_without_motion import device_poses, judge, never_tuned_on

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BARS = {"BURST": (0.85, 0.95, 0.70), "LIVE": (0.75, 0.90, 0.0)}
"""Minimum of open vowels, shut pauses and closed bilabials."""


@pytest.mark.parametrize("pacing", BARS)
def test_held_out_speech_reaches_the_bars(pacing: str) -> None:
    """Other sentences in other voices, the same with breath in the pauses, and ten languages."""
    for group, sounds in never_tuned_on().items():
        found = judge(sounds, lambda samples, rate_hz: device_poses(samples, rate_hz, live=pacing == "LIVE"), opened)
        open_, shut, closed = BARS[pacing]
        assert found.vowels_open >= open_, (group, str(found))
        assert found.silence_shut >= shut, (group, str(found))
        assert found.bilabials_close >= closed, (group, str(found))
