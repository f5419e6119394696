"""Switches the backlight of the screen: by the kernel's backlight files, else by the configured command."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

BACKLIGHTS = Path("/sys/class/backlight")
_ON, _OFF = "0", "4"  # FB_BLANK_UNBLANK, FB_BLANK_POWERDOWN
COMMAND_S = 10.0
"""A command that takes longer is killed."""


def locked_backlights(root: Path = BACKLIGHTS) -> list[Path]:
    """List the backlight files that this user may not write."""
    return [path for path in _files(root) if not os.access(path, os.W_OK)]


class ScreenPower:
    """Belongs to the thread that draws: a driver that hangs affects only pictures."""

    def __init__(self, command: Sequence[str], *, is_dark: bool | None = None, root: Path = BACKLIGHTS) -> None:
        """`command` is called with the argument `sleep` or `wake`; empty for none. `is_dark`: the previous state; None if unknown."""
        self._command = tuple(command)
        self._is_dark = is_dark
        self._root = root
        self._running: subprocess.Popen[bytes] | None = None
        self._began_s = 0.0

    def set(self, *, dark: bool) -> None:
        """Switch on a change. Call it with each picture: a switch delayed by a command that still runs is then made."""
        if dark == self._is_dark or self._is_running():
            return
        self._is_dark = dark
        if not self._write(_OFF if dark else _ON) and self._command:
            self._run("sleep" if dark else "wake")

    def close(self, wait_s: float = 0.0) -> None:
        """Restore the light. Waits this long for a command that does it; after that it continues in the background."""
        if self._is_dark:
            self._began_s = 0.0  # one that still runs is killed
            self.set(dark=False)
            if self._running is not None and wait_s:
                with suppress(subprocess.TimeoutExpired):
                    self._running.wait(wait_s)

    def _write(self, value: str) -> bool:
        """Write to all files; returns whether any was written. If none was, the screen just shows a black picture."""
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
