"""The files of a recording, from pictures that a stage showed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from avatar_relay.messages import Finished
from edge_client.audio.sink import SinkCounters
from edge_client.face.pictures import RenderSummary, ShownPicture
from edge_client.lip_sync.meter import SkewMeter, SkewRecord
from edge_client.lip_sync.watch import SkewWatch
from edge_client.motion.pose import neutral_pose
from edge_client.playback.events import ConversationSummary, PlaybackSummary, PlayerState, View
from edge_client.recording.film_keeper import TAIL_US, FilmKeeper
from edge_client.recording.recorder import Recorder
from edge_client.recording.report import RunFigures, summary_of
from edge_client.recording.skew_plot import SIZE_PX, draw_skew


class Canvas:
    """Replaces stage and renderer: shows pictures to a recorder, and reads them back on request."""

    def __init__(self) -> None:
        self.watch = SkewWatch()
        self.recorder = Recorder(self.watch.meter)
        self.keeper = FilmKeeper(self.recorder.film_memory)
        self.reads = 0

    def show(self, picture: ShownPicture) -> None:
        wanted = self.keeper.wants(picture.shown_time_us)
        self.reads += wanted
        self.watch.shown(picture, None)
        self.keeper.shown(picture, np.full((240, 320, 3), self.reads % 256, np.uint8) if wanted else None)


def spoken(time_us: int, *, skew_us: int = 0, shown_us: int | None = None, conversation_id: str = "c-1") -> ShownPicture:
    """A picture in a conversation whose sound is heard since 0."""
    pts = time_us - skew_us if shown_us is None else shown_us
    return ShownPicture(time_us, time_us, View(PlayerState.PLAYING, conversation_id, time_us, neutral_pose(), 1.0, pts), time_us)


def idle(time_us: int) -> ShownPicture:
    """A picture outside any conversation."""
    return ShownPicture(time_us, time_us, View(PlayerState.IDLE), None)


def run_of(recorder: Recorder, conversations: tuple[ConversationSummary, ...] = ()) -> RunFigures:
    """Figures of a run with plain counters."""
    playback = PlaybackSummary(
        audio_seconds_received=2.0,
        audio_seconds_played=1.9,
        underruns=1,
        silence_seconds=0.1,
        filled_gaps=1,
        filled_seconds=0.06,
        payloads_received=40,
        late_payloads=2,
        dropped_payloads=3,
        keyframes_received=50,
        conversations=conversations,
    )
    return RunFigures(
        playback, SinkCounters(underruns=1, silence_frames=4_800), "a sink", "canvas", RenderSummary(61, 2, 2.0), recorder.skew, 1_000_000
    )


def test_a_conversation_leaves_all_files(tmp_path: Path) -> None:
    """A conversation leaves film, contact sheet, plot and figures, and no partly written file."""
    canvas = Canvas()
    recorder = canvas.recorder
    for number in range(90):
        canvas.show(spoken(number * 33_333, skew_us=2_000))
    finished = ConversationSummary("c-1", 10, 20, 30, 2_000_000, 2_000_000, Finished(1_900_000, False, "completed"))
    recorder.write(tmp_path, run_of(recorder, (finished,)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contact-sheet.png", "edge-summary.json", "face.gif", "skew.png"]
    summary: dict[str, Any] = json.loads((tmp_path / "edge-summary.json").read_text())
    assert summary["conversation_id"] == "c-1"
    assert summary["skew_ms"]["p50"] == summary["skew_ms"]["p99"] == pytest.approx(2.0, abs=0.1)
    assert summary["playback_finished"] == {"position_ms": 1_900.0, "interrupted": False, "reason": "completed"}
    assert summary["first_payload"] == {"monotonic_us": 20, "unix_us": 1_000_020}
    assert (summary["underruns"], summary["late_payloads"], summary["dropped_payloads"], summary["keyframes_received"]) == (1, 2, 3, 50)
    assert (summary["silence_seconds"], summary["filled_gaps"], summary["filled_seconds"]) == (0.1, 1, 0.06)
    assert (summary["frames_shown"], summary["frames_per_second"]) == (61, 30.0)


def test_pictures_are_kept_in_conversations_and_a_little_after() -> None:
    """Idle life is neither filmed nor read back; the face coming to rest is."""
    canvas = Canvas()
    for number in range(60):
        canvas.show(idle(number * 33_333))
    assert canvas.reads == 0
    canvas.show(spoken(2_000_000))
    for number in range(120):
        canvas.show(idle(2_033_333 + number * 33_333))
    times = [still.time_us for still in canvas.keeper.film.stills]
    assert times[0] == 2_033_333
    assert 2_000_000 + TAIL_US - 200_000 < times[-1] < 2_000_000 + TAIL_US
    assert len(times) == canvas.reads


def test_without_any_conversation_the_figures_say_so() -> None:
    """Missing values are None, never invented."""
    summary = summary_of(run_of(Recorder(SkewMeter())))
    for name in ("conversation_id", "skew_ms", "playback_finished", "first_payload", "first_audio"):
        assert summary[name] is None
    assert summary["conversations"] == []


def test_plot_shows_points_and_limits(tmp_path: Path) -> None:
    """Blue points, green percentiles, red limits; a text if nothing was measured."""
    record = SkewRecord()
    for number in range(300):
        record.add(number * 33_333, (number % 7 - 3) * 4_000)
    draw_skew(record, tmp_path / "full.png")
    draw_skew(SkewMeter().at_pictures, tmp_path / "empty.png")
    colours = {}
    for name in ("full", "empty"):
        with Image.open(tmp_path / f"{name}.png") as plot:
            assert plot.size == SIZE_PX
            colours[name] = {colour for count, colour in plot.getcolors(1 << 20) or [] if count > 100}
    for colour in ((38, 102, 190), (20, 130, 70), (200, 40, 40)):
        assert colour in colours["full"]
        assert colour not in colours["empty"]


@pytest.mark.parametrize("skew_us", [0, 50, -300_000, 2_000_000])
def test_plot_takes_any_range(tmp_path: Path, skew_us: int) -> None:
    """A single point, tiny and huge skew: the plot is drawn."""
    record = SkewRecord()
    record.add(0, skew_us)
    draw_skew(record, tmp_path / "skew.png")
    assert (tmp_path / "skew.png").stat().st_size > 1_000
