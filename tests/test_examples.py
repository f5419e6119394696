"""The examples, run as by a reader: separate programs against a real relay and real edge clients."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.lab.backend import CLIP
from tests.lab.data import PROJECT_ROOT
from tests.lab.programs import attached
from tests.lab.recordings import motion_messages

EXAMPLES = PROJECT_ROOT / "examples"
MAX_LINES = 80
RATE_HZ = 16_000
SECONDS = 0.52


def clip() -> bytes:
    """Half a second of the project's clip, with open vowels."""
    with wave.open(str(CLIP), "rb") as file:
        file.setpos(RATE_HZ)
        return file.readframes(round(SECONDS * RATE_HZ))


WAIT_S = 45.0
"""Time limit for a program on a busy machine."""
RELAYCTL = "from relay_server.relayctl.cli import main; raise SystemExit(main())"
SETTINGS = """
import sys
from pathlib import Path
from relay_server.cli import ConfigError, build_parser, load_config

FILE = ["--config", sys.argv[1]]
VARIABLE = {"AVATAR_RELAY_BEEPER_PITCH_HZ": "600"}
for flags, environment in (
    ([*FILE, "--beeper-pitch-hz", "700"], VARIABLE),
    (FILE, VARIABLE),
    (FILE, {}),
    (["--beeper-pitch-hz", "high"], {}),
    ([], {"AVATAR_RELAY_BEEPER_PITCH": "600"}),
):
    try:
        print(load_config(build_parser().parse_args(flags), environment).sources["beeper"].pitch_hz)
    except ConfigError as error:
        print(error)
"""
"""Prints the source's setting, given in each way."""
SPEECH = base64.b64encode(clip()).decode()
MOTION = [base64.b64encode(message).decode() for message in motion_messages((8, 5))]
FINISHED = r"finished at 0\.6\S* s: completed"
HEARD = r"completed after 0\.5 s"


@dataclass(slots=True)
class Started:
    """A running program, with its output in one file."""

    process: subprocess.Popen[bytes]
    output: Path

    def said(self) -> str:
        """Return all of its output so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def result(self) -> str:
        """Return its output once it has ended successfully."""
        status = self.process.wait(WAIT_S)
        assert status == 0, self.said()
        return self.said()

    async def wait_for(self, pattern: str) -> str:
        """Wait for the first match in its output."""
        async with asyncio.timeout(WAIT_S):
            while not (match := re.search(pattern, self.said())):
                assert self.process.poll() is None, self.said()
                await asyncio.sleep(0.05)
        return match[0]


@dataclass(slots=True)
class Bench:
    """Starts programs, and ends those that still run."""

    folder: Path
    packages: Path
    """The folder with the installed packages of the examples."""
    address: str = ""
    devices: dict[str, Started] = field(default_factory=dict)
    watchers: list[Started] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)
    _count: int = 0

    def start(self, *command: str | Path, **environment: str) -> Started:
        """Run a program with this Python and the installed packages."""
        self._count += 1
        output = self.folder / f"{self._count}.log"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, *map(str, command)],
                cwd=self.folder,
                env={
                    **os.environ,
                    "PYTHONPATH": str(self.packages),
                    "PYTHONUNBUFFERED": "1",
                    "EDGE_CLIENT_HEADLESS": "true",
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self._stack.callback(_end, process)
        return Started(process, output)

    def example(self, name: str, *arguments: str | Path) -> Started:
        """Run an example against the relay."""
        return self.start(EXAMPLES / name, *arguments, "--relay", self.address)

    def close(self) -> None:
        """End all programs."""
        self._stack.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of the examples, installed by pip into a folder; our own installation is not modified."""
    folder = tmp_path_factory.mktemp("packages")
    before = subprocess.run(["git", "status", "--porcelain"], cwd=PROJECT_ROOT, capture_output=True, check=True).stdout
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", folder, EXAMPLES / "own_source", EXAMPLES / "own_renderer"], check=True, timeout=WAIT_S)
    after = subprocess.run(["git", "status", "--porcelain"], cwd=PROJECT_ROOT, capture_output=True, check=True).stdout
    assert after == before
    return folder


@pytest.fixture(scope="module")
def bench(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A relay that speaks for `right` with the installed source; devices `left`, drawn by the installed renderer, and `right`."""
    bench = Bench(tmp_path_factory.mktemp("examples"), packages)
    try:
        relay = bench.start(
            *("-m", "relay_server", "--listen", "127.0.0.1:0"),
            *("--devices", '{right = "beeper"}', "--beeper-beep-ms", "100"),
        )
        bench.address = asyncio.run(relay.wait_for(r"(?<=listening on )\S+"))
        bench.watchers.append(bench.start("-c", RELAYCTL, "--relay", bench.address, "watch", "right"))
        for device, renderer in (("left", "bar"), ("right", "none")):
            bench.devices[device] = bench.start(
                "-m", "edge_client", "--relay", bench.address, "--device-id", device, "--renderer", renderer
            )
        asyncio.run(_attached(bench, {"left", "right"}))
        yield bench
    finally:
        bench.close()


async def _attached(bench: Bench, names: set[str]) -> None:
    async with asyncio.timeout(WAIT_S):
        for name in names:
            await attached(bench.address, name)


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip as a file."""
    path = tmp_path_factory.mktemp("wav") / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(clip())
    return path


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: path.name)
def test_examples_are_short_and_listed(path: Path) -> None:
    """Under 80 lines, and in the table of the folder's README."""
    assert len(path.read_text(encoding="utf-8").splitlines()) < MAX_LINES
    assert f"({path.relative_to(EXAMPLES)})" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


def test_backends_speak(bench: Bench, wav: Path) -> None:
    """A file, streamed speech, several devices at once, and threads: sequentially on each device, two at a time."""
    first = bench.example("publish_wav.py", wav, "left")
    second = bench.example("publish_tts.py", "right", "Hello. Yes.")
    assert re.search(rf"left: {HEARD}", first.result())
    tts = second.result()
    assert "right began to speak" in tts
    assert "right: completed" in tts
    both = bench.example("many_devices.py", wav, "left", "right").result()
    assert "speaking on left, right" in both
    assert re.search(rf"left: {HEARD}\nright: {HEARD}", both)
    assert re.search(rf"left: {HEARD}\nright: {HEARD}", bench.example("blocking_caller.py", wav, "left", "right").result())


async def test_installed_source_speaks_and_installed_renderer_draws(bench: Bench, wav: Path) -> None:
    """`relayctl say` through another package's source reaches a device; another package's renderer drew the other device's face."""
    (watch,) = bench.watchers
    while not re.search(FINISHED, watch.said()):  # a watcher sees events only from its start
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.to_thread(bench.start("-c", RELAYCTL, "--relay", bench.address, "say", "right", "three little beeps").result)
                await watch.wait_for(FINISHED)
    assert "█" in bench.devices["left"].said()


def test_settings_of_an_installed_source(bench: Bench, tmp_path: Path) -> None:
    """Its section works as flag, variable and key of the file, and errors name the location, as for our own."""
    file = tmp_path / "relay.toml"
    file.write_text("[beeper]\npitch_hz = 300\n", encoding="utf-8")
    lines = bench.start("-c", SETTINGS, file).result().splitlines()
    assert lines == [
        "700.0",
        "600.0",
        "300.0",
        "--beeper-pitch-hz: 'high' cannot be used; it takes a number from 100 to 4000 Hz",
        "AVATAR_RELAY_BEEPER_PITCH: no such setting; did you mean AVATAR_RELAY_BEEPER_PITCH_HZ?",
    ]


async def test_own_transport_plays_what_the_demo_sends(bench: Bench, wav: Path) -> None:
    """AvatarKit's Backend Mode demo: a turn whose last motion arrives after the end of its sound, an interrupted one, stale motion."""
    done = asyncio.Event()
    started: list[Started] = []

    async def demo(socket: ServerConnection) -> None:
        await say(socket, type="ready", sessionId="s", avatar={})
        assert json.loads(await socket.recv()) == {"type": "text_query", "text": "How are you?"}
        await say(socket, type="status", message="Received text: How are you?")
        await say(socket, type="avatar_audio", turnId="t-1", audio=SPEECH, isLast=False)
        await say(socket, type="avatar_frames", turnId="t-1", frames=MOTION[:1], isLast=False)
        await say(socket, type="avatar_audio", turnId="t-1", audio="", isLast=True)
        await say(socket, type="avatar_frames", turnId="t-1", frames=MOTION[1:], isLast=True)
        await started[0].wait_for(HEARD)
        await say(socket, type="avatar_audio", turnId="t-2", audio=SPEECH, isLast=False)
        await say(socket, type="interrupt", reason="client_interrupt")
        await say(socket, type="avatar_frames", turnId="t-1", frames=MOTION[:1], isLast=False)
        await say(socket, type="error", message="no more")
        await started[0].wait_for(r"interrupted after 0\.\d s")
        done.set()

    async with serve(demo, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        bar = bench.start(EXAMPLES / "own_renderer" / "bar_renderer.py", wav)
        url = f"ws://127.0.0.1:{port}/ws/agent"
        started.append(bench.start(EXAMPLES / "own_transport.py", url, "--ask", "How are you?", EDGE_CLIENT_RENDERER="flat"))
        async with asyncio.timeout(WAIT_S):
            await done.wait()
        output = await asyncio.to_thread(started[0].result)
    assert "the server says: no more" in output
    assert "█" in await asyncio.to_thread(bar.result)


async def say(socket: ServerConnection, **message: object) -> None:
    """One of the demo's messages."""
    await socket.send(json.dumps(message))
