"""The clips that are spliced: a sine, and a person's speech if installed."""

from __future__ import annotations

import wave
from collections.abc import Iterator

import numpy as np

from edge_client.audio.sink import Pcm
from tests.edge_client.simulation.splices import sine
from tests.lab.data import alsa_sample


def speech() -> Pcm:
    """`Front_Center.wav` of Debian's alsa-utils, 48 kHz. Skips a test if it is missing."""
    with wave.open(str(alsa_sample("Front_Center.wav"))) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def clips() -> Iterator[tuple[str, Pcm]]:
    """All clips, by name."""
    yield "sine", sine()
    yield "speech", speech()
