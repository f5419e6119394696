"""The interface of the contenders' clients to the load generator, and the command line of their servers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

MAX_JOINED_BYTES = 64 << 10
QUEUE_PAYLOADS = 256
"""Number of payloads that a relay queues for a device before its publisher waits."""


class Clients(Protocol):
    """Publishers and devices of one contender. `received` is called with each payload that a device receives, in order."""

    async def attach(self, session: int, device: int) -> None:
        """Attach a device to a session; returns once it will receive that session's payloads."""
        ...

    async def publish(self, session: int, audio: Sequence[bytes], motion: Sequence[bytes]) -> None:
        """Publish payloads as a backend of this kind would; waits when the contender does."""
        ...

    async def close(self) -> None:
        """Close all clients."""
        ...


Received = Callable[[bytes], None]


def interleaved(audio: Sequence[bytes], motion: Sequence[bytes]) -> list[bytes]:
    """Both kinds in the order of their media time."""
    merged = [payload for pair in zip(audio, motion, strict=False) for payload in pair]
    return merged + list(audio[len(motion) :]) + list(motion[len(audio) :])


def port_file() -> Path:
    """Parse a contender's command line: the file for the port on which it listens."""
    parser = argparse.ArgumentParser(description="One contender of scripts/bench/relay.")
    parser.add_argument("--port-file", type=Path, required=True)
    path: Path = parser.parse_args().port_file
    return path


def listening(path: Path, port: int) -> None:
    """Report that the server is listening on `port`."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text(f"{port}\n", encoding="ascii")
    unfinished.rename(path)
