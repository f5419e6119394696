"""Displays that start and stop, and a real client that speaks meanwhile."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import time
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from avatar_relay import messages as m
from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Kind, Payload
from tests.edge_client.link.scripted_relay import Relay, Stream, serving
from tests.lab.data import PROJECT_ROOT

RATE_HZ = 48_000
PAYLOAD_US = 100_000
PATIENCE_S = 30.0
BACK_S = 6.0


class XServer:
    """A headless X server of a fixed number that can be started and killed repeatedly."""

    def __init__(self, number: int) -> None:
        if shutil.which("Xvfb") is None:
            pytest.skip("Xvfb is not installed")
        self.number = number
        self.variables = {"DISPLAY": f":{number}", "WAYLAND_DISPLAY": ""}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns once it answers."""
        command = ["Xvfb", f":{self.number}", "-screen", "0", "800x600x24", "-nolisten", "tcp", "-noreset"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: Path(f"/tmp/.X11-unix/X{self.number}").exists())

    def kill(self) -> None:
        """Kill it at once, as in a crash; leftovers are removed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for path in (Path(f"/tmp/.X11-unix/X{self.number}"), Path(f"/tmp/.X{self.number}-lock")):
                path.unlink(missing_ok=True)


class Weston:
    """A headless Wayland compositor."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("weston") is None:
            pytest.skip("weston is not installed")
        folder.chmod(0o700)
        self._folder = folder
        self.variables = {"DISPLAY": "", "WAYLAND_DISPLAY": "wayland-7", "XDG_RUNTIME_DIR": str(folder)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns once it answers."""
        command = ["weston", "--backend=headless-backend.so", "--socket=wayland-7", "--use-gl", "--width=800", "--height=600"]
        environment = {**os.environ, **self.variables}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: (self._folder / "wayland-7").exists())

    def kill(self) -> None:
        """Kill it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for name in ("wayland-7", "wayland-7.lock"):
                (self._folder / name).unlink(missing_ok=True)


def wait_for(what: Callable[[], bool], patience_s: float = PATIENCE_S) -> float:
    """Wait until a condition is true; returns the seconds it took."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < patience_s
        time.sleep(0.02)
    return time.monotonic() - began


@contextmanager
def killed(display: XServer | Weston) -> Iterator[None]:
    """Kill a display on exit, so that none is left."""
    try:
        yield
    finally:
        display.kill()


class SpeakingClient:
    """A real client that plays noise for some seconds, and whose log names its renderers."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.log = log

    def drawn_by(self) -> list[str]:
        """Every renderer so far."""
        return re.findall(r"The face is drawn by (.*)", self.log.read_text())

    async def drawn(self, count: int, where: str, patience_s: float = PATIENCE_S) -> float:
        """Wait until a face has been drawn there for this total time; returns seconds."""

        def so() -> bool:
            assert self.process.returncode is None, self.log.read_text()
            return len([name for name in self.drawn_by() if where in name]) >= count

        try:
            return await asyncio.to_thread(wait_for, so, patience_s)
        except AssertionError as error:
            raise AssertionError(self.log.read_text()) from error


@asynccontextmanager
async def speaking_client(folder: Path, variables: dict[str, str], seconds: float, *arguments: str) -> AsyncIterator[SpeakingClient]:
    """Run it; it must exit normally, with all sound played, sample for sample and without a gap."""
    noise = np.random.default_rng(1).integers(-9_000, 9_000, round(seconds * RATE_HZ)).astype("<i2")
    noise[noise == 0] = 1

    async def script(stream: Stream) -> None:
        await stream.welcome()
        await stream.say(ConversationOpen("c-1", AudioFormat(Codec.PCM_S16LE, RATE_HZ)))
        frames = RATE_HZ * PAYLOAD_US // 1_000_000
        count = len(noise) // frames
        for number in range(count):
            data = noise[number * frames : (number + 1) * frames].tobytes()
            await stream.say(m.Media("c-1", (Payload(Kind.AUDIO, number + 1, data, number * PAYLOAD_US, PAYLOAD_US),)))
        await stream.say(m.ConversationEnd("c-1", count, 0))
        while (heard := await stream.hear()) is not None:
            if isinstance(heard, m.PlayerEvent):
                await stream.say(m.EventAck(heard.event_id))

    log = folder / "edge.log"
    async with serving(Relay(script)) as (_, port):
        own = ("--relay", f"127.0.0.1:{port}", "--device-id", "kitchen", "--audio-sink", "virtual", "--exit-after-finished", "1")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("EDGE_CLIENT_", "OTEL_", "SDL_"))}
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "edge_client", *own, "--size", "320x240", "--record", str(folder / "record"), *arguments),
                cwd=PROJECT_ROOT,
                env=environment | {"PYTHONPATH": "proto"} | variables,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        try:
            yield SpeakingClient(process, log)
            assert await asyncio.wait_for(process.wait(), seconds + PATIENCE_S) == 0, log.read_text()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    with wave.open(str(folder / "record" / "played.wav")) as sound:
        played = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    first = int(np.flatnonzero(played)[0])
    assert np.array_equal(played[first : first + len(noise)], noise), "the sound has a gap"
