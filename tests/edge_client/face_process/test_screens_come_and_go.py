"""Displays are killed and restarted while a real client speaks: it never ends, all its sound is played, and the face returns."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import statistics
from pathlib import Path

import pytest

from tests.edge_client.face_process.desktops import BACK_S, SpeakingClient, Weston, XServer, killed, speaking_client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

_log = logging.getLogger(__name__)

KILLED_BACK_S = 2.0
STOPPED_BACK_S = 3.5
"""On a quiet machine."""


async def killed_and_back(client: SpeakingClient, display: XServer | Weston, where: str) -> None:
    """The display is killed; the face continues off-screen; the display is restarted."""
    await client.drawn(1, where)
    await asyncio.sleep(1.0)
    display.kill()
    assert await client.drawn(1, "off-screen") < BACK_S
    await asyncio.sleep(1.0)
    display.start()
    assert await client.drawn(2, where) < BACK_S


@pytest.mark.parametrize("renderer", ["gles", "flat"])
async def test_an_x_server_is_killed_and_comes_back(renderer: str, tmp_path: Path) -> None:
    """Xlib ends the drawing process, and no other."""
    server = XServer(7_301)
    with killed(server):
        server.start()
        async with speaking_client(tmp_path, server.variables, 18.0, "--renderer", renderer) as client:
            await killed_and_back(client, server, "x11")


@pytest.mark.parametrize("renderer", ["gles", "flat"])
async def test_a_wayland_compositor_is_killed_and_comes_back(renderer: str, tmp_path: Path) -> None:
    """SDL then sends QUIT, which is not a user's request."""
    folder = tmp_path / "run"
    folder.mkdir()
    server = Weston(folder)
    with killed(server):
        server.start()
        async with speaking_client(tmp_path, server.variables, 18.0, "--renderer", renderer) as client:
            await killed_and_back(client, server, "wayland")


async def test_an_x_server_that_is_started_after_the_client_is_taken_up(tmp_path: Path) -> None:
    """The variable names it all the time."""
    server = XServer(7_302)
    with killed(server):
        async with speaking_client(tmp_path, server.variables, 12.0) as client:
            await client.drawn(1, "off-screen")
            await asyncio.sleep(1.0)
            server.start()
            assert await client.drawn(1, "x11") < BACK_S


async def test_a_compositor_that_no_variable_names_is_found(tmp_path: Path) -> None:
    """By its socket in the run-time folder, for a program that is started at boot."""
    folder = tmp_path / "run"
    folder.mkdir()
    server = Weston(folder)
    with killed(server):
        variables = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "XDG_RUNTIME_DIR": str(folder), "SDL_VIDEODRIVER": "wayland"}
        async with speaking_client(tmp_path, variables, 12.0) as client:
            await client.drawn(1, "off-screen")
            server.start()
            assert await client.drawn(1, "wayland") < BACK_S


@pytest.mark.timeout(3_600)
async def test_the_face_is_killed_and_stopped_again_and_again(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """At random points, with a GLES window: back in time, and no sound is lost. `--cases N`: N clients, twice each."""
    chance = random.Random(pytestconfig.getoption("seed"))
    server = XServer(7_303)
    taken: dict[signal.Signals, list[float]] = {signal.SIGKILL: [], signal.SIGSTOP: []}
    with killed(server):
        server.start()
        for client_number in range(pytestconfig.getoption("cases") or 1):
            folder = tmp_path / str(client_number)
            folder.mkdir()
            async with speaking_client(folder, server.variables, 20.0, "--renderer", "gles") as client:
                await client.drawn(1, "x11")
                for number in range(4):
                    await asyncio.sleep(chance.uniform(0.5, 2.0))
                    kind = signal.SIGKILL if number % 2 == 0 else signal.SIGSTOP
                    os.kill(face_of(client.process.pid), kind)
                    taken[kind].append(await client.drawn(number + 2, "x11"))
    for kind, times_s in taken.items():
        _log.info(
            "%s × %s: face back after a median of %.2f s, at most %.2f s", len(times_s), kind.name, statistics.median(times_s), max(times_s)
        )
    assert max(taken[signal.SIGKILL]) <= KILLED_BACK_S
    assert max(taken[signal.SIGSTOP]) <= STOPPED_BACK_S


def face_of(pid: int) -> int:
    """The client's drawing process."""
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        for found in child.read_text().split():
            if b"edge_client.face_process" in Path(f"/proc/{found}/cmdline").read_bytes():
                return int(found)
    raise AssertionError("no face")
