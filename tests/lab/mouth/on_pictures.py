"""Plays a conversation through a real relay and edge client, and measures the mouth in every picture shown. For scripts and tests.

The relay runs in its own process, the backend on its own thread, and the edge client's `App` on the calling thread, drawing
off-screen. The measurement uses the pictures that the client drew, and its estimate of when each was visible.
"""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar_relay.tracing import telemetry_off
from edge_client.app import App
from edge_client.config import EdgeConfig
from edge_client.face.pictures import PictureObserver, ShownPicture
from edge_client.face.renderer import Picture
from edge_client.face.screens import RendererChoice
from edge_client.face_process.messages import Watcher
from tests.lab.backend import Published, Script, speak
from tests.lab.face.pixels import mouth_opening_px
from tests.lab.programs import attached, python, running

DEVICE_ID = "measured"
START_S = 30.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MouthOnPictures:
    """Mouth openings during one conversation. `opening_px` belongs to `heard_s`, both of shape (pictures,)."""

    published: Published
    heard_s: NDArray[np.float64]
    """Audible PTS while the picture was on the screen."""
    opening_px: NDArray[np.float64]
    """Largest gap between the lips in the middle half of the mouth; 0 if they touch."""
    skew_ms: NDArray[np.float64]
    figures: dict[str, Any]
    """The client's figures, as in `edge-summary.json`; empty if it did not record."""

    def opening_at(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """The opening on the screen at these times of the sound, taken from the most recent picture."""
        index = np.clip(np.searchsorted(self.heard_s, times_s, side="right") - 1, 0, len(self.heard_s) - 1)
        return self.opening_px[index]


class MouthWatcher(PictureObserver):
    """Measures every picture in the face process, and finally writes the rows to the file `path`."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._rows: list[tuple[float, float, float]] = []

    def wants(self, now_us: int) -> bool:
        """Return true: every picture is measured."""
        return True

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """Measure the mouth if sound is audible."""
        if pixels is not None and picture.heard_pts_us is not None and picture.skew_us is not None:
            self._rows.append((picture.heard_pts_us / 1e6, mouth_opening_px(pixels), picture.skew_us / 1e3))

    def close(self) -> None:
        """Write the file."""
        np.save(self._path, np.asarray(self._rows))


class _Backend(threading.Thread):
    """Relay and publisher on a background thread; the face needs the main thread."""

    def __init__(self, script: Script, folder: Path) -> None:
        super().__init__(name="backend", daemon=True)
        self._script = script
        self._folder = folder
        self._listening = threading.Event()
        self.address = ""
        self.published: Published | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Run the relay and the publisher (thread body)."""
        try:
            asyncio.run(self._publish())
        except BaseException as error:
            self.error = error
        finally:
            self._listening.set()

    def wait_until_listening(self) -> None:
        """Wait for the relay. Re-raises the error that ended the thread."""
        self._listening.wait(START_S)
        if self.error is not None:
            raise self.error

    async def _publish(self) -> None:
        command = [*python("relay_server"), "--listen", "127.0.0.1:0"]
        async with running("relay-server", command, self._folder / "relay.log", {}) as relay:
            self.address = (await relay.wait_for(r"listening on (\S+)", START_S))[1]
            self._listening.set()
            async with asyncio.timeout(START_S):
                await attached(self.address, DEVICE_ID)
            self.published = await speak(
                self.address, DEVICE_ID, self._script, seconds=None, telemetry=telemetry_off(), say=lambda text: logger.info("%s", text)
            )


def play(
    script: Script, folder: Path, *, observers: Sequence[PictureObserver] = (), watchers: Sequence[Watcher] = (), **settings: Any
) -> Published:
    """Play a conversation through relay and edge client, with observers of the face and additional `settings` of the client.

    Must be called on the main thread; takes as long as the sound. Re-raises errors of relay, publisher and client.
    """
    backend = _Backend(script, folder)
    backend.start()
    backend.wait_until_listening()
    config = EdgeConfig(relay=(backend.address,), device_id=DEVICE_ID, audio_sink="virtual", exit_after_finished=1, **settings)
    status = App(config, observers, watchers).run()
    backend.join(START_S)
    if backend.error is not None:
        raise backend.error
    if status != 0 or backend.published is None:
        raise RuntimeError(f"the edge client ended with status {status}")
    return backend.published


def watch_mouth(script: Script, renderer: RendererChoice = "gles", record: Path | None = None, **more: Any) -> MouthOnPictures:
    """Play a conversation off-screen and measure the mouth; `more` are settings of the client. See `play`.

    The client records into the folder `record`, which costs it seconds of computing at the end.
    """
    with tempfile.TemporaryDirectory(prefix="mouth-") as name:
        folder = Path(name)
        published = play(
            script,
            folder,
            watchers=[Watcher("tests.lab.mouth.on_pictures:MouthWatcher", str(folder / "rows.npy"))],
            renderer=renderer,
            headless=True,
            size=(480, 480),
            pictures_per_second=25.0,
            record=record,
            **more,
        )
        figures = json.loads((record / "edge-summary.json").read_text()) if record is not None else {}
        heard, opening, skew = np.load(folder / "rows.npy").T
    return MouthOnPictures(published, heard, opening, skew, figures)
