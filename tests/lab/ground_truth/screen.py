"""Observes a screen from outside: a program that repeatedly reads the stamp of the picture that an X server shows.

    python -m tests.lab.ground_truth.screen DISPLAY WIDTHxHEIGHT FILE

The window fills the screen. For each change the file gets a line: the time of the last read that saw the previous picture, that of
the first read that saw this one (ns, CLOCK_MONOTONIC), and the stamp; -1 if there is no stamp, or the picture was only partly drawn.
The last line is the number of reads. Ends on SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from Xlib import X
from Xlib.display import Display

from edge_client.face.picture_stamp import BLOCK_PX, STAMP_BLOCKS
from tests.lab.face.read_stamp import read_stamp, stamped_pts_us
from tests.lab.ground_truth.skew import Seen

PERIOD_NS = 1_400_000
"""Read period: over 700 reads per second if the machine is fast enough."""
_ROW_PX = STAMP_BLOCKS * BLOCK_PX


@dataclass(frozen=True, slots=True)
class Watched:
    """The pictures seen. `reads_per_second` determines the accuracy."""

    pictures: tuple[Seen, ...]
    damaged: int
    reads_per_second: float


def watch(display: Display, size: tuple[int, int], out: TextIO, stopped: list[bool]) -> None:
    """Read until `stopped` is not empty."""
    root = display.screen().root
    row_y = size[1] - BLOCK_PX // 2
    last, last_ns = b"", time.monotonic_ns()
    began_ns = due_ns = last_ns
    reads = 0
    while not stopped:
        asked_ns = time.monotonic_ns()
        row = root.get_image(0, row_y, _ROW_PX, 1, X.ZPixmap, 0xFFFFFFFF).data
        read_ns = (asked_ns + time.monotonic_ns()) // 2
        reads += 1
        if row != last:
            out.write(f"{last_ns} {read_ns} {_stamp(row)}\n")
            last = row
        last_ns = read_ns
        due_ns = max(due_ns + PERIOD_NS, time.monotonic_ns() - PERIOD_NS)
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
    out.write(f"reads {reads} {time.monotonic_ns() - began_ns}\n")


def _stamp(row: bytes) -> int:
    pixels = np.frombuffer(row, np.uint8).reshape(1, _ROW_PX, 4)[:, :, :3]
    stamp = read_stamp(np.repeat(pixels, BLOCK_PX, axis=0))
    return -1 if stamp is None else stamp


def read_watched(path: Path) -> Watched:
    """Read the file of a watcher that has ended. A picture appeared between two reads; its time is their midpoint."""
    pictures: list[Seen] = []
    damaged = 0
    rate = 0.0
    for first, second, third in _lines(path):
        if first == "reads":
            rate = int(second) * 1e9 / int(third)
        elif int(third) < 0:
            damaged += 1
        else:
            pictures.append(Seen((int(first) + int(second)) / 2e3, stamped_pts_us(int(third))))
    return Watched(tuple(pictures), damaged, rate)


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    for line in path.read_text(encoding="ascii").splitlines():
        first, second, third = line.split()
        yield first, second, third


def main(arguments: list[str]) -> int:
    """The program."""
    name, size, path = arguments
    stopped: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    width, height = map(int, size.split("x"))
    display = Display(name)
    with Path(path).open("w", encoding="ascii") as out:
        print("watching", flush=True)
        watch(display, (width, height), out, stopped)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
