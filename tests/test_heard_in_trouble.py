"""Output of a sound device while the network is narrow or the device itself is lost: part of `scripts/ground_truth`."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pyaudio")
from avatar_relay.media import Codec, Pacing
from edge_client.audio.sinks.pyaudio import DEFAULT_BUFFER_FRAMES
from tests.lab.backend import CLIP
from tests.lab.ground_truth import trouble
from tests.lab.ground_truth.speech import load_material
from tests.lab.ground_truth.station import Setup
from tests.lab.sound_card.paced_card import build_library

SETUP = Setup(renderer="none", device_fields="buffer_min 8192")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


@pytest.fixture(autouse=True)
def needed() -> None:
    """Skips if there is no compiler for the sound device."""
    build_library()


async def test_sound_stays_whole_where_motion_must_yield(tmp_path: Path) -> None:
    """64 kbit/s for 74 kbit/s: the speech plays, its motion is thinned, and the publisher is notified of both loss and reason."""
    report = await trouble.narrow(tmp_path, SETUP, await load_material(CLIP), Codec.OPUS, Pacing.BURST, 16.0)
    assert report["finished"] == "completed"
    assert report["sound"]["heard_seconds"] >= 15.5, report["sound"]
    told = report["publisher_told"]
    assert told["LINK_NARROW"] == 1
    came, spoken = report["keyframes_came_of"]
    assert came + told["motion dropped: link_narrow"] == spoken
    assert came >= spoken // 4


async def test_a_lost_sound_device_is_told_and_played_on(tmp_path: Path) -> None:
    """Missing for 4 s in the middle of a word: the conversation ends normally. At most the data passed to the device is lost, and
    sound played after its last report, at most two buffers, may be repeated."""
    report = await trouble.unplugged(tmp_path, SETUP, await load_material(CLIP))
    assert report["finished"] == "completed"
    assert report["publisher_told"] == {"AUDIO_DEVICE_FAILED": 1, "audio stalls": 1, "audio goes on": 1}
    assert report["sound"]["restarts"] == 1
    assert report["sound"]["lost_ms"] <= 250
    assert report["sound"]["repeated_ms"] + report["sound"]["foreign_frames"] / 48 <= 2 * DEFAULT_BUFFER_FRAMES / 48
    assert report["sound"]["unheard_at_end_ms"] == 0
