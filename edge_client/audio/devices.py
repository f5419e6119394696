"""The outputs that this machine has, and which of them is meant.

PortAudio is asked in a process of its own, for it can abort the one that asks (it does so where a configuration of ALSA
names devices, but no default).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from edge_client.blas_threads import ONE_THREAD
from edge_client.bounded_stderr import BoundedStderr
from edge_client.errors import SinkError

SPEAKER_MODULE = "edge_client.audio.speaker"
_PROBE_SECONDS = 20.0
_WHAT_TO_DO = "attach one, or check `aplay -L` and the user's membership in the group 'audio'"


@dataclass(frozen=True, slots=True)
class OutputDevice:
    """An output as PortAudio names it. `index` holds until devices come or go."""

    index: int
    name: str
    channels: int
    rate_hz: int
    """The rate that it prefers."""
    host_api: str
    is_default: bool

    def __str__(self) -> str:
        return f"[{self.index}] {self.name} ({self.host_api}, {self.channels} channels, {self.rate_hz} Hz)"


def choose_output(devices: Sequence[OutputDevice], wanted: str = "") -> OutputDevice:
    """The device that `wanted` names: an index, a name, or the beginning of exactly one name; empty for the default.

    Raises `SinkError` that tells what there is.
    """
    if not devices:
        raise SinkError(f"no sound card: ALSA offers no output; {_WHAT_TO_DO}")
    if not wanted:
        return next((device for device in devices if device.is_default), devices[0])
    if wanted.isascii() and wanted.isdigit():
        found = [device for device in devices if device.index == int(wanted)]
    else:
        found = [device for device in devices if device.name == wanted][:1]
        found = found or [device for device in devices if device.name.casefold().startswith(wanted.casefold())]
    if len(found) == 1:
        return found[0]
    listed = "; ".join(map(str, found or devices))
    problem = "is the beginning of several outputs" if found else "is none of the outputs"
    raise SinkError(f"{wanted!r} {problem}: {listed}")


def list_outputs() -> list[OutputDevice]:
    """All outputs; none where there is no sound card. Takes up to a second. Raises `SinkError` where PortAudio fails."""
    command = [sys.executable, "-m", SPEAKER_MODULE, "--list"]
    with contextlib.closing(BoundedStderr()) as errors:
        try:
            done = subprocess.run(
                command,
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors.fileno(),
                timeout=_PROBE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SinkError(f"PortAudio did not list its outputs within {_PROBE_SECONDS:g} s") from error
        if done.returncode != 0:
            detail = errors.excerpt() or "it gave no reason"
            raise SinkError(f"PortAudio cannot list its outputs, {describe_exit(done.returncode)}: {detail}")
    return parse_outputs(done.stdout)


def parse_outputs(listed: bytes) -> list[OutputDevice]:
    """From `format_outputs`."""
    return [OutputDevice(**device) for device in json.loads(listed)]


def format_outputs(devices: Sequence[OutputDevice]) -> bytes:
    """Devices as JSON."""
    return json.dumps([asdict(device) for device in devices]).encode()


def child_environment() -> dict[str, str]:
    """Environment of a process that opens PortAudio: no JACK server is started, and numpy keeps to one thread."""
    return os.environ | {"JACK_NO_START_SERVER": "1"} | ONE_THREAD


def describe_exit(return_code: int) -> str:
    """How a process that opens PortAudio ended, in words."""
    if return_code >= 0:
        return f"exit code {return_code}"
    if return_code == -signal.SIGALRM:
        return "killed by its own timer: PortAudio or a driver hung"
    return f"killed by {signal.Signals(-return_code).name}"
