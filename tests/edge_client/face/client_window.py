"""A real client's window on an X server: the command is run, its window is found, resized and read from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from Xlib.display import Display
from Xlib.error import BadWindow
from Xlib.X import AnyPropertyType, ZPixmap
from Xlib.xobject.drawable import Window

from edge_client.face.renderer import Picture

PATIENCE_S = 20.0
TITLE = b"avatar-relay"


@dataclass
class ClientWindow:
    """One client and its window."""

    process: subprocess.Popen[bytes]
    log: Path
    display: Display
    window: Window

    def resize(self, width: int, height: int) -> None:
        """Resize as a window manager does, at the screen's corner; returns when the X server has done so."""
        self.window.configure(x=0, y=0, width=width, height=height)
        self.display.sync()

    def look(self) -> Picture:
        """The window's pixels."""
        return _pixels(self.window)

    def assert_draws(self) -> None:
        """Check that the client runs, and that its window changes."""
        before, until = self.look(), time.monotonic() + PATIENCE_S
        while (self.look() == before).all():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, "the picture stands"
            time.sleep(0.02)


@contextmanager
def client_window(display_name: str, log: Path, *options: str, variables: Mapping[str, str] | None = None) -> Iterator[ClientWindow]:
    """Run `edge-client` with a window on an X display; it draws on entry, and must exit normally afterwards."""
    environment = {**os.environ, "DISPLAY": display_name, "WAYLAND_DISPLAY": "", "PYTHONFAULTHANDLER": "1", **(variables or {})}
    command = [sys.executable, "-m", "edge_client", "--relay", "127.0.0.1:1", "--audio-sink", "virtual", *options]
    display = Display(display_name)
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
    try:
        client = ClientWindow(process, log, display, _window_of(display, process, log))
        client.assert_draws()
        yield client
        assert process.poll() is None, log.read_text()
        process.terminate()
        assert process.wait(PATIENCE_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
        display.close()


def resize_own_window(display_name: str, width: int, height: int) -> None:
    """Resize the only client window on an X display, which may be this process's."""
    display = Display(display_name)
    try:
        window = _find(display)
        assert window is not None
        window.configure(x=0, y=0, width=width, height=height)
        display.sync()
    finally:
        display.close()


def look_at_own_window(display_name: str) -> Picture:
    """The pixels of the only client window on an X display, which may be this process's."""
    display = Display(display_name)
    try:
        window = _find(display)
        assert window is not None
        return _pixels(window)
    finally:
        display.close()


def _pixels(window: Window) -> Picture:
    size = window.get_geometry()
    image = window.get_image(0, 0, size.width, size.height, ZPixmap, 0xFFFFFFFF)
    pixels = np.frombuffer(image.data, np.uint8).reshape(size.height, size.width, 4)
    return np.ascontiguousarray(pixels[..., 2::-1])


def _window_of(display: Display, process: subprocess.Popen[bytes], log: Path) -> Window:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        window = _find(display)
        if window is not None:
            return window
        time.sleep(0.05)
    raise AssertionError(f"no window of that name came: {log.read_text()}")


def _find(display: Display) -> Window | None:
    title_atom = display.intern_atom("_NET_WM_NAME")
    for window in display.screen().root.query_tree().children:
        with suppress(BadWindow):  # closed meanwhile
            title = window.get_full_property(title_atom, AnyPropertyType)
            if title is not None and title.value == TITLE and window.get_attributes().map_state:
                return window
    return None
