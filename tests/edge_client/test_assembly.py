"""How the parts of a device are built from its settings."""

from __future__ import annotations

import pytest

from avatar_relay.messages import Media
from edge_client.assembly import make_playback
from edge_client.config import load_config
from tests.edge_client.playback_bench import RATE_HZ, Bench, audio_payloads, open_, tone


@pytest.mark.parametrize("drawn", [True, False])
def test_sound_is_analysed_for_a_face_only(drawn: bool) -> None:
    """Speech without motion moves the mouth; without a face nothing is computed for it."""
    bench = Bench()
    bench.playback = make_playback(load_config({}, {}, file=None), bench.sink, None, drawn=drawn)
    bench.sink.start(bench.playback)
    bench.handle(open_("a", motion=None), Media("a", audio_payloads(tone(RATE_HZ))))
    bench.run(500_000)
    assert len(bench.sound) > RATE_HZ // 4
    assert any(view.motion is not None for _, view in bench.views) is drawn
