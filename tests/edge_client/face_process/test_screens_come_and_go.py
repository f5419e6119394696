"""Displays are killed and come back while a real client speaks: it never ends, all its sound is played, and the face comes back."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.edge_client.face_process.desktops import BACK_S, SpeakingClient, Weston, XServer, killed, speaking_client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


async def killed_and_back(client: SpeakingClient, display: XServer | Weston, where: str) -> None:
    """The display is killed; the face goes on off-screen; the display is started again."""
    await client.drawn(1, where)
    await asyncio.sleep(1.0)
    display.kill()
    assert await client.drawn(1, "off-screen") < BACK_S
    await asyncio.sleep(1.0)
    display.start()
    assert await client.drawn(2, where) < BACK_S


@pytest.mark.parametrize("renderer", ["gles", "flat"])
async def test_an_x_server_is_killed_and_comes_back(renderer: str, tmp_path: Path) -> None:
    """Xlib ends the process that draws, and no other."""
    server = XServer(7_301)
    with killed(server):
        server.start()
        async with speaking_client(tmp_path, server.variables, 18.0, "--renderer", renderer) as client:
            await killed_and_back(client, server, "x11")


@pytest.mark.parametrize("renderer", ["gles", "flat"])
async def test_a_wayland_compositor_is_killed_and_comes_back(renderer: str, tmp_path: Path) -> None:
    """SDL says QUIT then, which is no person's wish."""
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
    """By its socket in the run-time folder, as for a program that is started at boot."""
    folder = tmp_path / "run"
    folder.mkdir()
    server = Weston(folder)
    with killed(server):
        variables = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "XDG_RUNTIME_DIR": str(folder), "SDL_VIDEODRIVER": "wayland"}
        async with speaking_client(tmp_path, variables, 12.0) as client:
            await client.drawn(1, "off-screen")
            server.start()
            assert await client.drawn(1, "wayland") < BACK_S


async def test_the_face_is_killed_and_stopped_again_and_again(tmp_path: Path) -> None:
    """At random points, with a GLES window: back in time, and nothing of the sound is lost."""
    server = XServer(7_303)
    with killed(server):
        server.start()
        async with speaking_client(tmp_path, server.variables, 30.0, "--renderer", "gles") as client:
            await client.drawn(1, "x11")
            for number in range(6):
                await asyncio.sleep(1.5 + 0.17 * number)
                kill = number % 2 == 0
                os.kill(face_of(client.process.pid), signal.SIGKILL if kill else signal.SIGSTOP)
                took_s = await client.drawn(number + 2, "x11")
                assert took_s < (4.0 if kill else 6.0), "generous, for a busy machine"


def face_of(pid: int) -> int:
    """The client's process that draws."""
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        for found in child.read_text().split():
            if b"edge_client.face_process" in Path(f"/proc/{found}/cmdline").read_bytes():
                return int(found)
    raise AssertionError("no face")
