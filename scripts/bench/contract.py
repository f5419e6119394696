"""What the load generator asks of each contender's clients, and what a contender is started with."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

MAX_JOINED_BYTES = 64 << 10
QUEUE_PAYLOADS = 256
"""What a relay queues for a device before its publisher waits."""


class Clients(Protocol):
    """Publishers and devices of one contender. `received` is told each payload that came to a device, in order."""

    async def attach(self, session: int, device: int) -> None:
        """A device that gets what is published on a session; returns once it will."""
        ...

    async def publish(self, session: int, audio: Sequence[bytes], motion: Sequence[bytes]) -> None:
        """Hand over payloads as a backend of this kind would; waits where the contender does."""
        ...

    async def close(self) -> None:
        """End all."""
        ...


Received = Callable[[bytes], None]


def interleaved(audio: Sequence[bytes], motion: Sequence[bytes]) -> list[bytes]:
    """Both kinds in the order of their media time."""
    merged = [payload for pair in zip(audio, motion, strict=False) for payload in pair]
    return merged + list(audio[len(motion) :]) + list(motion[len(audio) :])


def port_file() -> Path:
    """The command line of a contender's server: where to write the port when it listens."""
    parser = argparse.ArgumentParser(description="One contender of scripts/bench/relay.")
    parser.add_argument("--port-file", type=Path, required=True)
    path: Path = parser.parse_args().port_file
    return path


def listening(path: Path, port: int) -> None:
    """Say that the server listens."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text(f"{port}\n", encoding="ascii")
    unfinished.rename(path)
