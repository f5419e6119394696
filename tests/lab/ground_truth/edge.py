"""The edge client with a journal of its pictures, its figures, and optional busy Python threads as load.

    EDGE_CLIENT_…=… python -m tests.lab.ground_truth.edge FOLDER BUSY_THREADS

`journal.txt` has a line for each picture that shows a pose while sound is playing: its time, the conversation, PTS shown, PTS heard
(µs). `figures.json` has the counters of sink and player. Both are written at the end.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge_client.app import App
from edge_client.audio.sink import AudioSink
from edge_client.config import load_config
from edge_client.face.pictures import PictureObserver, ShownPicture
from edge_client.face.renderer import Picture
from edge_client.motion.avatarkit import FlameMap
from edge_client.playback.engine import PlaybackEngine
from edge_client.telemetry import EdgeTelemetry


@dataclass(frozen=True, slots=True)
class Told:
    """The client's report of a picture: time, PTS shown and PTS heard, all in µs."""

    time_us: int
    conversation_id: str
    shown_us: int
    heard_us: int


@dataclass(slots=True)
class Journal(PictureObserver):
    """Records the pictures shown."""

    told: list[Told] = field(default_factory=list)

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """Record a picture that shows a pose while sound is playing."""
        view = picture.view
        if view.conversation_id is not None and view.shown_pts_us is not None and picture.heard_pts_us is not None:
            self.told.append(Told(picture.shown_time_us, view.conversation_id, view.shown_pts_us, picture.heard_pts_us))

    def write(self, path: Path) -> None:
        """Write the journal to a file."""
        lines = (f"{told.time_us} {told.conversation_id} {told.shown_us} {told.heard_us}\n" for told in self.told)
        path.write_text("".join(lines), encoding="ascii")


def read_journal(path: Path) -> list[Told]:
    """Read a file of `Journal.write`; empty if there was no face."""
    if not path.exists():
        return []
    fields = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return [Told(int(time_us), name, int(shown), int(heard)) for time_us, name, shown, heard in fields]


def _never_rest() -> None:
    number = 0
    while True:
        number = (number * 31 + 7) % 65_521


class _OpenApp(App):
    """An `App` that exposes the figures of sink and player after the run."""

    def _make_playback(self, sink: AudioSink, flame_map: FlameMap | None, tracer: EdgeTelemetry | None) -> PlaybackEngine:
        self.sink = sink
        self.playback = super()._make_playback(sink, flame_map, tracer)
        return self.playback

    def figures(self) -> dict[str, Any]:
        """The counters; times are µs of CLOCK_MONOTONIC."""
        summary = self.playback.summary()
        conversations = [asdict(conversation) for conversation in summary.conversations]
        return {
            "sink": asdict(self.sink.counters()),
            "late_payloads": summary.late_payloads,
            "keyframes_received": summary.keyframes_received,
            "conversations": conversations,
        }


def main(arguments: list[str]) -> int:
    """The program; returns the edge client's exit status."""
    folder, busy = Path(arguments[0]), int(arguments[1])
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    journal = Journal()
    for _ in range(busy):
        threading.Thread(target=_never_rest, daemon=True).start()
    app = _OpenApp(load_config({}, os.environ, file=None), observers=[journal])
    status = app.run()
    journal.write(folder / "journal.txt")
    (folder / "figures.json").write_text(json.dumps(app.figures(), indent=2), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
