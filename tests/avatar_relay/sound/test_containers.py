"""Containers are detected by their first bytes, and PCM is never mistaken for one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar_relay.sound.containers import HEAD_BYTES, Container, id3_bytes, sniff
from tests.avatar_relay.sound.streams import BEGINNINGS, mpeg, rf64

FIRST_BYTES = sorted({beginning[0] for beginning in BEGINNINGS.values()})


@pytest.mark.parametrize("container", BEGINNINGS)
def test_each_is_known_and_a_part_of_it_is_undecided(container: Container) -> None:
    """A beginning of any length is never mistaken for PCM; more data never changes the verdict."""
    beginning = BEGINNINGS[container]
    verdicts = [sniff(beginning[:size]) for size in range(len(beginning) + 1)]
    decided = verdicts.index(container)
    assert set(verdicts[:decided]) <= {Container.UNDECIDED}
    assert set(verdicts[decided:]) == {container}
    assert sniff(beginning + bytes(10_000)) is container


@pytest.mark.parametrize(
    "head",
    [
        b"RIFF\0\0\0\0AVI LIST",
        b"RIFX\0\0\0\0WAVE",
        BEGINNINGS[Container.OGG][:40] + b"\xff" + BEGINNINGS[Container.OGG][41:],
        b"OggS\1" + BEGINNINGS[Container.OGG][5:],
        b"fLaC\x00\0\0\x23" + bytes(40),
        b"fLaC\x84\0\0\x22" + bytes(40),
        b"\x1a\x45\xdf\xa3\x84\x42\x86\x81\x01" + bytes(10),
        b"\0\0\0\x20moov" + bytes(20),
        b"ID3\x05\0\0\0\0\0\0",
        b"ID3\x03\0\x1f\0\0\0\0",
        b"ID3\x03\0\0\0\0\x80\0",
        mpeg(2) + bytes(500),
        mpeg(2) + mpeg(1, mono=True),
        b"\xff" * 5_000,
        b"\xff\xfb\x90\x64" + b"\xff" * 5_000,
        bytes(5_000),
    ],
    ids=lambda head: head[:8].hex(),
)
def test_what_only_looks_like_one_is_none(head: bytes) -> None:
    """A magic number alone is not enough."""
    assert sniff(head) is None


def test_bit_rate_may_change_between_frames() -> None:
    """VBR; and RF64 is WAV."""
    assert sniff(mpeg(1) + mpeg(1, kbps_index=5) + mpeg(1)) is Container.MPEG
    assert sniff(rf64(bytes(100))) is Container.WAV


def test_length_of_an_id3_tag() -> None:
    """Seven bits per byte; a footer is included."""
    assert id3_bytes(b"ID3\x04\0\0\0\0\x02\x01") == 10 + 257
    assert id3_bytes(b"ID3\x04\0\x10\0\0\x02\x01") == 20 + 257


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FIRST_BYTES), st.binary(max_size=5_000))
def test_noise_is_none_and_is_decided_in_time(first: int, rest: bytes) -> None:
    """Also if the first byte is that of a magic number."""
    head = bytes([first]) + rest
    assert sniff(head) in (None, Container.UNDECIDED)
    assert sniff(head + bytes(HEAD_BYTES)) is not Container.UNDECIDED


def windows(samples: NDArray[np.int16], step_bytes: int) -> Iterator[bytes]:
    """Return the windows at a fixed step whose first bytes do not exclude a container."""
    data = np.frombuffer(samples.astype("<i2").tobytes(), np.uint8)
    starts = data[:-8:step_bytes]
    marked = np.isin(starts, FIRST_BYTES)
    second = data[1:-7:step_bytes]
    marked &= (starts != 0xFF) | (second >= 0xE0)
    tags = np.isin(starts, [0]) & (data[4:-4:step_bytes] != ord("f"))
    raw = data.tobytes()
    for at in np.flatnonzero(marked & ~tags) * step_bytes:
        yield raw[at : at + HEAD_BYTES]


def sounds(seconds: int) -> dict[str, NDArray[np.int16]]:
    """Return generated PCM of all kinds."""
    chance, frames = np.random.default_rng(5), seconds * 16_000
    time = np.arange(frames) / 16_000
    envelope = np.abs(np.sin(2 * np.pi * 1.3 * time)) ** 3
    made = {
        "silence": np.zeros(frames),
        "dither": chance.integers(-1, 2, frames),
        "-1": np.full(frames, -1),
        "hum": 300 * np.sin(2 * np.pi * 50 * time) + chance.normal(0, 3, frames),
        "voice": 9_000 * envelope * np.sin(2 * np.pi * (140 * time + 9 * np.sin(2 * np.pi * 2.1 * time))) + chance.normal(0, 20, frames),
        "white noise": chance.uniform(-32_768, 32_767, frames),
        "full scale": 32_767 * np.sign(np.sin(2 * np.pi * 333 * time)),
    }
    return {name: samples.astype(np.int16) for name, samples in made.items()}


def refused(samples: NDArray[np.int16], step_bytes: int) -> list[Container]:
    """Return the windows detected as a container."""
    verdicts = (sniff(window) for window in windows(samples, step_bytes))
    return [verdict for verdict in verdicts if verdict not in (None, Container.UNDECIDED)]


def test_no_window_of_pcm_is_a_container() -> None:
    """700,000 windows, at all offsets."""
    for name, samples in sounds(3).items():
        assert refused(samples, 1) == [], name
