"""The link is cut in the middle of a word: what people see, picture by picture, until it is back. All of it real."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import soundfile

from avatar_relay.tracing import telemetry_off
from edge_client.app import App
from edge_client.config import EdgeConfig
from edge_client.face.renderer import Picture
from edge_client.face.stage import ShownPicture
from relay_server.sources.local.source import LocalSource
from relay_server.sources.source import FileSpeech
from scripts.demo_backend import CLIP, Script, speak
from scripts.demo_pair import attached
from scripts.demo_programs import python, running
from tests.edge_client.face.pixels import mouth_opening_px

DEVICE_ID = "cut"
SPEECH_S, AGAIN_S = 3.0, 1.0
HEARD_FIRST_S = 0.7
"""So much was heard when the relay is killed."""
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Look:
    """One picture: what is written over it, whether something was heard, and how far the mouth is open."""

    time_s: float
    written: str
    heard: bool
    opening_px: float


class Looker:
    """Looks at each picture as a person does: at pixels alone."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self.enough_heard, self.page_seen = threading.Event(), threading.Event()
        self.heard_s = 0.0
        self._bright = 0.0

    def wants(self, now_us: int) -> bool:
        """All of them."""
        return True

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """A page darkens the picture, a sign is amber and in the upper right corner."""
        assert pixels is not None
        height, width = pixels.shape[:2]
        lit = float(np.median(pixels[round(0.7 * height) :, width // 3 : -width // 3]))
        self._bright = max(self._bright, lit)
        corner = pixels[: height // 6, width // 2 :].astype(int)
        amber = (corner[..., 0] > 200) & (corner[..., 2] < 140) & (corner[..., 1] > 140)
        written = "page" if lit < 0.6 * self._bright else "sign" if amber.sum() > 20 else "nothing"
        heard = picture.heard_pts_us is not None
        opening = mouth_opening_px(pixels) if written != "page" else 0.0
        self.looks.append(Look(picture.shown_time_us / 1e6, written, heard, opening))
        self.heard_s = max(self.heard_s, (picture.heard_pts_us or 0) / 1e6)
        if self.heard_s > HEARD_FIRST_S:
            self.enough_heard.set()
        # The first page is the one of the start.
        if written == "page" and self.heard_s > HEARD_FIRST_S:
            self.page_seen.set()


class Backend(threading.Thread):
    """Relay and publisher, off the main thread, which the face owns: speaks, kills the relay, starts it again, speaks again."""

    def __init__(self, folder: Path, looker: Looker) -> None:
        super().__init__(name="backend", daemon=True)
        self._folder = folder
        self._looker = looker
        self.listening = threading.Event()
        self.address = "127.0.0.1:0"
        self.cut_s = self.back_s = self.done_s = 0.0
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
            await asyncio.to_thread(self._looker.enough_heard.wait, PATIENCE_S)
            relay.kill()
            self.cut_s = time.monotonic()
        await asyncio.to_thread(self._looker.page_seen.wait, PATIENCE_S)
        async with running("relay", self._command(), self._folder / "relay-2.log", {}) as relay:
            await relay.wait_for(r"listening on", PATIENCE_S)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await attached(self.address, DEVICE_ID)
            self.back_s = time.monotonic()
            await self._speak(AGAIN_S)
            self.done_s = time.monotonic()

    def _command(self) -> list[str]:
        return [*python("relay_server"), "--listen", self.address]

    async def _speak(self, seconds: float) -> None:
        """Some seconds of real speech."""
        samples, rate_hz = soundfile.read(CLIP, dtype="int16")
        path = self._folder / f"{seconds:g}.wav"
        soundfile.write(path, np.resize(samples, round(seconds * rate_hz)), rate_hz)
        script = Script(LocalSource(), FileSpeech(path), "speech")
        await speak(self.address, DEVICE_ID, script, seconds=None, telemetry=telemetry_off(), say=logging.debug)


@pytest.mark.timeout(90)
def test_a_cut_mid_word(tmp_path: Path) -> None:
    """Speech goes on under a sign until the buffer has played out, then a page tells why, then the face is back and speaks again."""
    looker = Looker()
    backend = Backend(tmp_path, looker)
    backend.start()
    backend.listening.wait(PATIENCE_S)
    config = EdgeConfig(
        relay=backend.address,
        device_id=DEVICE_ID,
        audio_sink="virtual",
        renderer="gles",
        headless=True,
        size=(480, 480),
        pictures_per_second=25.0,
        idle_life=False,
        exit_after_finished=2,
    )
    assert App(config, [looker]).run() == 0
    backend.join(PATIENCE_S)
    assert backend.error is None, backend.error

    after = [look for look in looker.looks if backend.cut_s - 0.5 < look.time_s < backend.done_s]
    assert [written for written, _ in groupby(look.written for look in after)] == ["nothing", "sign", "page", "nothing"]
    signed = [look for look in after if look.written == "sign"]
    assert signed[0].time_s - backend.cut_s < 1.5
    heard = [look for look in signed if look.heard]
    assert heard[-1].time_s - signed[0].time_s > SPEECH_S - HEARD_FIRST_S - 1.0
    assert max(look.opening_px for look in heard) > 5
    assert len({look.opening_px for look in heard}) > 2
    assert not any(look.heard for look in after if look.written == "page")
    again = [look for look in after if look.time_s > backend.back_s]
    assert max(look.opening_px for look in again if look.heard) > 5
    assert np.median(np.diff([look.time_s for look in after])) < 0.3  # the face went on; single pictures wait where the machine is busy
