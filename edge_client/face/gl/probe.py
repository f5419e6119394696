"""Finds the GL driver and its features in a child process, before the window is opened: drivers may crash when probed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from edge_client.errors import ScreenError
from edge_client.face.window import sdl_environment

TRIAL_MODULE = "edge_client.face.gl.trial"
LIMIT_S = 20
"""Limit on the time of a trial. It usually takes half a second, and some seconds from a cold SD card."""
_SLOW = "softpipe"
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class GlDriver:
    """A GLES driver that opened a window and drew into it."""

    version: str
    device: str
    vsync: bool
    """Whether showing can wait for the screen's refresh."""
    samples: int
    """Samples for each pixel of the window: 0 if they fail, or if the CPU draws, for which they double the cost."""

    @property
    def is_slow(self) -> bool:
        """Whether it draws only a few pictures a second: Mesa without LLVM."""
        return _SLOW in self.device


class Probe:
    """One trial in a child process. `driver` may be called repeatedly."""

    def __init__(
        self, driver: str, variables: Mapping[str, str] = NO_VARIABLES, *, module: str = TRIAL_MODULE, limit_s: int = LIMIT_S
    ) -> None:
        """Start the child with SDL's `driver`, see `start_sdl`. Raises `ScreenError` if the system cannot start a process."""
        environment = {**os.environ, **sdl_environment(driver, variables)}
        command = [sys.executable, "-m", module, str(limit_s)]
        try:
            self._child = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError as error:
            raise ScreenError(f"the process that tries the GL driver cannot be started: {error}") from error
        self._limit_s = limit_s
        self._said: dict[str, Any] | None = None

    def driver(self) -> GlDriver:
        """Wait for the result, at most `limit_s` seconds. Raises `ScreenError` if no window could be opened and drawn into."""
        if self._said is None:
            self._said = self._listen()
        said = self._said
        if "device" not in said:
            reason = f"SDL says: {said['error']}" if "error" in said else f"the GL driver {self._how_it_ended()} when it was tried"
            raise ScreenError(reason)
        return GlDriver(said["version"], said["device"], said["vsync"], said.get("samples", 0))

    def _listen(self) -> dict[str, Any]:
        try:
            output, _ = self._child.communicate(timeout=self._limit_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            output, _ = self._child.communicate()
        said: dict[str, Any] = {}
        for line in output.splitlines():
            if line.startswith("{"):  # a driver may print as well
                said.update(json.loads(line))
        return said

    def _how_it_ended(self) -> str:
        status = self._child.returncode
        if status in (-signal.SIGKILL, -signal.SIGALRM):
            return f"did not answer within {self._limit_s} s"
        return f"crashed ({signal.Signals(-status).name})" if status < 0 else f"ended with status {status}"
