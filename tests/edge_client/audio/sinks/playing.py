"""A real `PyAudioSink` that plays an array, and functions that inspect it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edge_client.audio.sink import Anchor, Pcm
from edge_client.audio.sinks.pyaudio import PyAudioSink
from tests.lab.sound_card.paced_card import RATE_HZ


def make_noise(seconds: float, seed: int = 1) -> Pcm:
    """Noise that no fade of 480 steps rounds to zero, so that inserted silence can be told apart from it."""
    chance = np.random.default_rng(seed)
    count = round(seconds * RATE_HZ)
    samples: Pcm = (chance.integers(2_000, 30_000, count) * chance.choice([-1, 1], count)).astype(np.int16)
    return samples


class ArrayFeed:
    """A feed of an array, as fast as it is pulled; more can be added at any time."""

    def __init__(self, samples: Pcm) -> None:
        self._lock = threading.Lock()
        self._samples = samples
        self._given = 0

    def pull(self, frames: int) -> Pcm:
        with self._lock:
            given = self._samples[self._given : self._given + frames]
            self._given += len(given)
            return given

    @property
    def given(self) -> int:
        with self._lock:
            return self._given

    def wait_until_given(self) -> None:
        """Wait until all has been pulled."""
        deadline = time.monotonic() + 30
        while self.given < len(self._samples):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def add(self, samples: Pcm) -> None:
        with self._lock:
            self._samples = np.concatenate([self._samples, samples])

    def end(self) -> None:
        """Discard what has not been pulled."""
        with self._lock:
            self._samples = self._samples[: self._given]


@contextmanager
def playing(feed: ArrayFeed) -> Iterator[PyAudioSink]:
    sink = PyAudioSink(device="paced")
    sink.start(feed)
    try:
        yield sink
    finally:
        sink.close()


def wait_until_heard(sink: PyAudioSink, frame: int) -> Anchor:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        anchor = sink.anchor()
        if anchor is not None and anchor.frame >= frame:
            return anchor
        time.sleep(0.01)
    raise AssertionError(f"frame {frame} was not heard in 30 s; {sink.anchor()}, {sink.counters()}")


def speaker_pid() -> int:
    """The process id of this test's only speaker process."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command, status = (entry / "cmdline").read_bytes(), (entry / "status").read_text()
        except OSError:
            continue
        if b"edge_client.audio.speaker" in command and f"PPid:\t{os.getpid()}\n" in status:
            return int(entry.name)
    raise AssertionError("no speaker process")
