"""The link is cut in the middle of a word: what users see, picture by picture, until it is restored. All components are real."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from avatar_relay.tracing import telemetry_off
from edge_client.app import App
from edge_client.config import EdgeConfig
from edge_client.face.pictures import PictureObserver, ShownPicture
from edge_client.face.renderer import Picture
from edge_client.face_process.messages import Watcher
from relay_server.sources.local.source import LocalSource
from relay_server.sources.source import FileSpeech
from tests.lab.backend import CLIP, Script, speak
from tests.lab.face.pixels import mouth_opening_px
from tests.lab.programs import attached, python, running

DEVICE_ID = "cut"
SPEECH_S, AGAIN_S = 3.0, 1.0
HEARD_FIRST_S = 0.7
"""Minimum of sound played when the relay is killed; the rest is on the device by then."""
DECODED_S = 0.3
"""Tolerance of the sum of played and buffered sound: data in transit to the sound card."""
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Look:
    """One picture: its overlay, the position in the speech it was drawn for, and the mouth opening."""

    time_s: float
    written: str
    heard_s: float | None
    """None if nothing is audible."""
    opening_px: float
    buffered_s: float
    """Buffered sound."""


class Looker(PictureObserver):
    """Inspects each picture by its pixels alone. Runs in the face process, and writes each result to a file."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._bright = 0.0

    def wants(self, now_us: int) -> bool:
        """Accept all pictures."""
        return True

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """Classify the overlay: a page darkens the picture, a sign is amber and in the upper right corner."""
        assert pixels is not None
        height, width = pixels.shape[:2]
        lit = float(np.median(pixels[round(0.7 * height) :, width // 3 : -width // 3]))
        self._bright = max(self._bright, lit)
        corner = pixels[: height // 6, width // 2 :].astype(int)
        amber = (corner[..., 0] > 200) & (corner[..., 2] < 140) & (corner[..., 1] > 140)
        written = "page" if lit < 0.6 * self._bright else "sign" if amber.sum() > 20 else "nothing"
        heard_s = None if picture.heard_pts_us is None else (picture.view.audible_pts_us or 0) / 1e6
        opening = mouth_opening_px(pixels) if written != "page" else 0.0
        look = Look(picture.shown_time_us / 1e6, written, heard_s, opening, picture.view.buffered_us / 1e6)
        with self._path.open("a") as file:
            file.write(json.dumps(astuple(look)) + "\n")


class Looks:
    """The results written by a looker so far."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self.path = path

    def read(self) -> list[Look]:
        """Read all complete lines."""
        return [Look(*json.loads(line)) for line in self.path.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def is_enough_heard(self) -> bool:
        """Whether most of the speech has played, or is buffered on the device."""
        heard = [look for look in self.read() if look.heard_s is not None]
        return bool(heard) and positions(heard)[-1] > HEARD_FIRST_S and positions(heard)[-1] + heard[-1].buffered_s > SPEECH_S - DECODED_S

    def is_page_seen(self) -> bool:
        """Whether a page appeared after the speech; the first page is that of the start."""
        looks = self.read()
        heard = [place for place, look in enumerate(looks) if (look.heard_s or 0) > HEARD_FIRST_S]
        return bool(heard) and any(look.written == "page" for look in looks[heard[0] :])


class Backend(threading.Thread):
    """Relay and publisher, off the main thread, which the face uses: speaks, kills the relay, restarts it, speaks again."""

    def __init__(self, folder: Path, looks: Looks) -> None:
        super().__init__(name="backend", daemon=True)
        self._folder = folder
        self._looks = looks
        self.listening = threading.Event()
        self.address = "127.0.0.1:0"
        self.cut_s = self.done_s = 0.0
        self.error: BaseException | None = None

    def run(self) -> None:
        """Thread body."""
        try:
            asyncio.run(asyncio.wait_for(self._live(), 2 * PATIENCE_S))
        except BaseException as error:
            self.error = error
        finally:
            self.listening.set()

    async def _live(self) -> None:
        async with running("relay", self._command(), self._folder / "relay-1.log", {}) as relay:
            self.address = (await relay.wait_for(r"listening on (\S+)", PATIENCE_S))[1]
            self.listening.set()
            await attached(self.address, DEVICE_ID)
            first = asyncio.create_task(self._speak(SPEECH_S))
            await so(self._looks.is_enough_heard)
            relay.kill()
            self.cut_s = time.monotonic()
        await so(self._looks.is_page_seen)
        async with running("relay", self._command(), self._folder / "relay-2.log", {}) as relay:
            await relay.wait_for(r"listening on", PATIENCE_S)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await attached(self.address, DEVICE_ID)
            await self._speak(AGAIN_S)
            self.done_s = time.monotonic()

    def _command(self) -> list[str]:
        return [*python("relay_server"), "--listen", self.address]

    async def _speak(self, seconds: float) -> None:
        """Publish some seconds of real speech."""
        samples, rate_hz = soundfile.read(CLIP, dtype="int16")
        path = self._folder / f"{seconds:g}.wav"
        soundfile.write(path, np.resize(samples, round(seconds * rate_hz)), rate_hz)
        script = Script(LocalSource(), FileSpeech(path), "speech")
        await speak(self.address, DEVICE_ID, script, seconds=None, telemetry=telemetry_off(), say=logging.debug)


@pytest.mark.timeout(90)
def test_a_cut_mid_word(tmp_path: Path) -> None:
    """Speech continues under a sign until the buffer has played out, then a page shows why, then the face returns and speaks again."""
    looks = Looks(tmp_path / "looks.txt")
    backend = Backend(tmp_path, looks)
    backend.start()
    backend.listening.wait(PATIENCE_S)
    config = EdgeConfig(
        relay=(backend.address,),
        device_id=DEVICE_ID,
        audio_sink="virtual",
        renderer="gles",
        headless=True,
        size=(480, 480),
        pictures_per_second=25.0,
        idle_life=False,
        exit_after_finished=2,
    )
    watcher = Watcher("tests.test_link_cut:Looker", str(looks.path))
    assert App(config, watchers=[watcher]).run() == 0
    backend.join(PATIENCE_S)
    assert backend.error is None, backend.error

    looked = looks.read()
    last_before = max(place for place, look in enumerate(looked) if look.time_s <= backend.cut_s)
    after = [look for look in looked[last_before:] if look.time_s < backend.done_s]
    groups = [(written, list(looks)) for written, looks in groupby(after, key=lambda look: look.written)]
    assert [written for written, _ in groups] == ["nothing", "sign", "page", "nothing"]
    before, sign, page, again = (looks for _, looks in groups)
    assert before[-1].heard_s is not None and sign[0].heard_s is not None, "the sign came in the middle of speech"
    assert before[-1].heard_s < sign[0].heard_s
    apart_s = max(later.time_s - earlier.time_s for earlier, later in pairwise(after))  # a busy machine draws few pictures
    assert positions(sign)[-1] > SPEECH_S - DECODED_S - 2 * apart_s, "all of the speech was heard under the sign"
    assert_speaks(sign)
    assert positions(page) == [], "no page before the speech was over"
    assert [look.heard_s is None for look in sign] == sorted(look.heard_s is None for look in sign), "it was not heard again"
    assert_speaks(again)


async def so(what: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(PATIENCE_S):
        while not what():  # noqa: ASYNC110 - a file is looked at
            await asyncio.sleep(0.02)


def positions(looks: Sequence[Look]) -> list[float]:
    """Return the positions in the speech."""
    return [look.heard_s for look in looks if look.heard_s is not None]


def assert_speaks(looks: Sequence[Look]) -> None:
    """The position advances, and the mouth moves with it, for any number of pictures that a busy machine draws."""
    spoken = [look for look in looks if look.heard_s is not None]
    assert positions(spoken) == sorted(positions(spoken))
    openings = [look.opening_px for look in spoken]
    assert max(openings) > 5
    assert sum(one != other for one, other in pairwise(openings)) >= len(openings) / 4
