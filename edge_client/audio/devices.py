"""Lists the outputs of this machine, in a separate process, because sound libraries may hang or abort."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

from edge_client.audio.outputs import Card, OutputDevice
from edge_client.blas_threads import ONE_THREAD
from edge_client.bounded_stderr import BoundedStderr
from edge_client.errors import SinkError

SPEAKER_MODULE = "edge_client.audio.speaker"
_LIST_SECONDS = 20.0


def list_outputs() -> list[OutputDevice]:
    """All outputs; the default one comes first, whether it can be opened or not. Takes a quarter of a second. Raises `SinkError`."""
    command = [sys.executable, "-m", SPEAKER_MODULE, "--list"]
    with contextlib.closing(BoundedStderr()) as errors:
        try:
            done = subprocess.run(
                command,
                env=os.environ | ONE_THREAD,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors.fileno(),
                timeout=_LIST_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SinkError(f"ALSA did not list its outputs within {_LIST_SECONDS:g} s") from error
        if done.returncode != 0:
            detail = errors.excerpt() or f"exit code {done.returncode}, without a reason"
            raise SinkError(f"ALSA cannot list its outputs: {detail}")
    return parse_outputs(done.stdout)


def parse_outputs(listed: bytes) -> list[OutputDevice]:
    """Parse the result of `format_outputs`."""
    return [OutputDevice(**device | {"card": Card(**device["card"]) if device["card"] else None}) for device in json.loads(listed)]


def format_outputs(devices: Sequence[OutputDevice]) -> bytes:
    """Devices as JSON."""
    return json.dumps([asdict(device) for device in devices]).encode()
