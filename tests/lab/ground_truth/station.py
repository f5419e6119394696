"""A relay, an edge client that plays to the paced device and draws on a virtual screen, and a watcher of that screen.

Each runs in its own process; their files are written to one folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avatar_relay.media import OnPlaying
from avatar_relay.publisher import AvatarEvent, ConversationFinished, Publisher
from relay_server.sources.source import Performance
from relay_server.sources.speech_publishing import PublishedSpeech
from tests.lab.fault_proxy import CALM, FaultProxy, Weather
from tests.lab.ground_truth.edge import Told, read_journal
from tests.lab.ground_truth.heard import DeviceClock, Pcm
from tests.lab.ground_truth.screen import Watched, read_watched
from tests.lab.programs import START_S, Program, ProgramError, attached, python, running, while_running
from tests.lab.sound_card.paced_card import RATE_HZ, PacedDevice, build_library
from tests.lab.sound_card.pulse import PulseServer

DEVICE_ID = "truth"
FACE_STANDS = "The face is drawn by|no face is drawn"
PATIENCE_S = 30.0
STOP_S = 20.0


@dataclass(frozen=True, slots=True)
class Setup:
    """The setup of a station. Without a renderer there is no screen."""

    renderer: str = "gles"
    size: tuple[int, int] = (800, 480)
    pictures_per_second: float = 30.0
    ppm: float = 0.0
    device_fields: str = ""
    """Additional configuration of the paced device."""
    busy_threads: int = 0
    weather: Weather = CALM
    seed: int = 1
    pulse: bool = False
    """Whether the client plays to PulseAudio, whose sink is the paced device."""
    media_tick_ms: int = 0
    """How long the relay holds media to join it."""
    publisher_tick_ms: int = 0
    """The same of the publisher."""


class Station:
    """The running programs. Created by `station`."""

    def __init__(self, folder: Path, setup: Setup, device: PacedDevice, proxy: FaultProxy, publisher: Publisher, edge: Program) -> None:
        self.folder = folder
        self.setup = setup
        self.device = device
        self.proxy = proxy
        self.publisher = publisher
        self.edge = edge
        self.told: list[AvatarEvent] = []
        """All events that the publisher received."""

    def rendition(self, performance: Performance, on_playing: OnPlaying = OnPlaying.REPLACE) -> PublishedSpeech:
        """A conversation for the device, not started yet."""
        rendition = PublishedSpeech(self.publisher, performance, (DEVICE_ID,), on_playing)
        rendition.avatar.subscribe(self.told.append)
        return rendition

    async def speak(self, performance: Performance, seconds: float) -> ConversationFinished:
        """Publish a conversation, and wait until it has finished. Raises `TimeoutError` if it does not finish in time."""
        rendition = self.rendition(performance)
        conversation_id = await rendition.begin()
        await rendition.finish()
        async with asyncio.timeout(seconds + PATIENCE_S):
            return await rendition.avatar.finished(conversation_id)

    def speaker_pid(self) -> int:
        """The process id of the speaker process. Raises `ProgramError` if there is none."""
        return self.child_pid("edge_client.audio.speaker")

    def child_pid(self, module: str) -> int:
        """The process id of the edge client's child process. Raises `ProgramError` if there is none."""
        edge = self.edge.pid
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                command = status.with_name("cmdline").read_bytes()
                if module.encode() in command and f"PPid:\t{edge}\n" in status.read_text():
                    return int(status.parent.name)
        raise ProgramError(f"the edge client has no process of {module}")


@dataclass(frozen=True, slots=True)
class Findings:
    """The results of a stopped station."""

    emitted: Pcm
    clock: DeviceClock
    device_xruns: int
    watched: Watched | None
    told: list[Told]
    figures: dict[str, Any]
    """See `tests.lab.ground_truth.edge`."""


def findings(folder: Path, device: PacedDevice, ppm: float) -> Findings:
    """Read the files of a stopped station."""
    events = device.events()
    watched = folder / "screen.txt"
    return Findings(
        emitted=device.samples(),
        clock=DeviceClock([(event.frame, event.time_ns) for event in events if event.kind == "start"], RATE_HZ * (1 + ppm * 1e-6)),
        device_xruns=sum(event.kind == "xrun" for event in events),
        watched=read_watched(watched) if watched.exists() else None,
        told=read_journal(folder / "journal.txt"),
        figures=json.loads((folder / "figures.json").read_text()),
    )


@asynccontextmanager
async def station(folder: Path, setup: Setup) -> AsyncIterator[Station]:
    """Start a station in an existing, empty folder, and stop it in order. Raises `ProgramError` if a program does not start."""
    device = PacedDevice(build_library(), folder, fields=f"ppm {setup.ppm} {setup.device_fields}")
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        command = [
            *python("relay_server"),
            "--listen",
            "127.0.0.1:0",
            "--drain-grace-ms",
            "500",
            "--media-tick-ms",
            str(setup.media_tick_ms),
        ]
        relay = await enter(running("relay-server", command, folder / "relay.log", {}))
        address = (await relay.wait_for(r"listening on (\S+)", START_S))[1]
        proxy = await enter(FaultProxy(address, down=setup.weather, up=setup.weather, seed=setup.seed))
        display = await enter(_screen(folder, setup)) if setup.renderer != "none" else ""
        sound = stack.enter_context(_sound(folder, setup, device))
        environment = _edge_environment(setup, proxy.address, sound, display)
        edge_command = [*python("tests.lab.ground_truth.edge"), str(folder), str(setup.busy_threads)]
        async with running("edge-client", edge_command, folder / "edge.log", environment) as edge:
            await edge.wait_for(FACE_STANDS, START_S)
            async with asyncio.timeout(START_S):
                await while_running(attached(address, DEVICE_ID), relay, edge)
            async with Publisher.connect(address, publisher_id="truth", media_tick_us=setup.publisher_tick_ms * 1_000) as publisher:
                yield Station(folder, setup, device, proxy, publisher, edge)
            edge.terminate()
            await edge.wait(STOP_S)


@contextmanager
def _sound(folder: Path, setup: Setup, device: PacedDevice) -> Iterator[Mapping[str, str]]:
    """Yield the environment that routes the client's sound to the paced device."""
    if not setup.pulse:
        yield {"ALSA_CONFIG_PATH": str(device.config), "EDGE_CLIENT_AUDIO_DEVICE": "paced"}
        return
    if shutil.which("pulseaudio") is None:
        raise ProgramError("PulseAudio is not installed: apt-get install pulseaudio pulseaudio-utils")
    server = PulseServer(folder, device)
    server.start()
    try:
        yield server.environment
    finally:
        server.kill()


def _edge_environment(setup: Setup, address: str, sound: Mapping[str, str], display: str) -> Mapping[str, str]:
    settings = {
        "relay": address,
        "device_id": DEVICE_ID,
        "audio_sink": "pyaudio",
        "renderer": setup.renderer,
        "size": f"{setup.size[0]}x{setup.size[1]}",
        "pictures_per_second": f"{setup.pictures_per_second:g}",
        "stamp": "true",
    }
    environment = {f"EDGE_CLIENT_{name.upper()}": value for name, value in settings.items()}
    return {**environment, **sound, "DISPLAY": display, "WAYLAND_DISPLAY": ""}


@asynccontextmanager
async def _screen(folder: Path, setup: Setup) -> AsyncIterator[str]:
    """Run a virtual screen of the window's size, and its watcher; yields the display's name."""
    if shutil.which("Xvfb") is None:
        raise ProgramError("Xvfb is not installed: apt-get install xvfb")
    size = f"{setup.size[0]}x{setup.size[1]}"
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", f"{size}x24", "-nolisten", "tcp", "-noreset"]
    async with running("Xvfb", command, folder / "xvfb.log", {}) as server:
        number = (await server.wait_for(r"(?m)^(\d+)$", START_S))[1]
        watch = [*python("tests.lab.ground_truth.screen"), f":{number}", size, str(folder / "screen.txt")]
        async with running("watcher", watch, folder / "watcher.log", {}) as watcher:
            await watcher.wait_for("watching", START_S)
            yield f":{number}"
