"""Joining of chunks and concealment."""

from __future__ import annotations

import numpy as np

from edge_client.audio.joiner import Joiner
from edge_client.audio.stream import Ready
from tests.edge_client.playback_bench import RATE_HZ, tone

LEAD_IN = 240


def _ready(pts_frame: int) -> Ready:
    return Ready(pts_frame, tone(960, start=pts_frame), 1, 1_920)


def test_what_follows_is_handed_on() -> None:
    """Samples are passed on unchanged, with nothing in between, and nothing before the first."""
    joiner = Joiner("a", RATE_HZ)
    chunks = [chunk for pts_frame in (0, 960, 1_920) for chunk in joiner.join(_ready(pts_frame))]
    assert [(chunk.pts_frame, chunk.pts_frames) for chunk in chunks] == [(0, 960), (960, 960), (1_920, 960)]
    assert np.concatenate([chunk.pcm for chunk in chunks]).tolist() == tone(2_880).tolist()


def test_a_skip_and_a_gap_have_a_lead_in_that_stands_for_no_sample() -> None:
    """The samples after it are unchanged."""
    joiner = Joiner("a", RATE_HZ)
    joiner.join(_ready(0))
    lead, media = joiner.join(_ready(9_600))
    assert (lead.pts_frame, lead.pts_frames, len(lead.pcm)) == (9_600, 0, LEAD_IN)
    assert media.pcm.tolist() == tone(960, start=9_600).tolist()
    (filler,) = joiner.fill(480)
    assert (filler.pts_frame, filler.pts_frames, len(filler.pcm)) == (10_560, 0, 480)
    lead, media = joiner.join(_ready(10_560))
    assert (lead.pts_frames, media.pts_frame) == (0, 10_560)
    assert len(joiner.join(_ready(11_520))) == 1


def test_filler_has_its_time() -> None:
    """Filler lasts 60 ms; the silence after that is left to the device."""
    joiner = Joiner("a", RATE_HZ)
    joiner.join(_ready(0))
    assert sum(len(chunk.pcm) for _ in range(20) for chunk in joiner.fill(480)) == 2_880
    assert joiner.fill(480) == []
    assert Joiner("b", RATE_HZ).fill(480) == []
    assert joiner.fill(-5) == []
