"""Switches the light of the screen: by the kernel's backlight files, else by a command of the device's owner."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

BACKLIGHTS = Path("/sys/class/backlight")
_ON, _OFF = "0", "4"  # FB_BLANK_UNBLANK, FB_BLANK_POWERDOWN
COMMAND_S = 10.0
"""A command that takes longer is killed."""


def locked_backlights(root: Path = BACKLIGHTS) -> list[Path]:
    """The files that this user may not write."""
    return [path for path in _files(root) if not os.access(path, os.W_OK)]


class ScreenPower:
    """Lives on the thread that draws: a driver that hangs costs pictures only."""

    def __init__(self, command: Sequence[str], *, is_dark: bool | None = None, root: Path = BACKLIGHTS) -> None:
        """`command` is called with `sleep` or `wake` behind it; empty for none. `is_dark`: what was set before; None if that is unknown."""
        self._command = tuple(command)
        self._is_dark = is_dark
        self._root = root
        self._running: subprocess.Popen[bytes] | None = None
        self._began_s = 0.0

    def set(self, *, dark: bool) -> None:
        """Switch, if that is news. Call it with each picture: what a command that still runs held up is done then."""
        if dark == self._is_dark or self._is_running():
            return
        self._is_dark = dark
        if not self._write(_OFF if dark else _ON) and self._command:
            self._run("sleep" if dark else "wake")

    def close(self) -> None:
        """Give the screen back with its light on; a command that does so goes on by itself."""
        if self._is_dark:
            self._began_s = 0.0  # one that still runs is killed
            self.set(dark=False)

    def _write(self, value: str) -> bool:
        """Whether any light was switched. What cannot be written leaves the screen to the black picture."""
        written = False
        for path in _files(self._root):
            try:
                path.write_text(value)
                written = True
            except OSError as error:
                logger.warning("%s: %s", path, error)
        return written

    def _run(self, what: str) -> None:
        try:
            self._running = subprocess.Popen([*self._command, what], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            self._began_s = time.monotonic()
        except OSError as error:
            logger.warning("sleep_command: %s", error)

    def _is_running(self) -> bool:
        if self._running is None or self._running.poll() is not None:
            return False
        if time.monotonic() - self._began_s < COMMAND_S:
            return True
        self._running.kill()
        self._running.wait()
        return False


def _files(root: Path) -> list[Path]:
    return sorted(root.glob("*/bl_power"))
