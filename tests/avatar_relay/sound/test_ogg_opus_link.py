"""Granule positions, packets and heads, and how far they are trusted: frames returned, and irregularities reported."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar_relay.errors import SoundError
from avatar_relay.sound.ogg_opus import OggOpusReader
from avatar_relay.sound.opus_head import parse_head
from tests.avatar_relay.sound.ogg_muxing import LAST, TakenApart, make_page, opus_head, split_pages
from tests.edge_client.audio.decoders.clips import encode, need_opus_tools, reference, tones

FRAMES = 94_123
"""Frames of the clip. With the pre-skip these are 99 packets of 20 ms; the last one has 605 frames of padding."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> TakenApart:
    """Nearly two seconds."""
    need_opus_tools()
    return TakenApart(encode(tmp_path_factory.mktemp("clip"), tones(FRAMES / 48_000)))


@pytest.fixture(scope="module")
def wanted(clip: TakenApart, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.int16]:
    """The clip's decoding by opusdec."""
    return reference(tmp_path_factory.mktemp("reference"), clip.mux())


def read(stream: bytes, *, seed: int = 0, most: int = 3_000) -> tuple[NDArray[np.int16], list[str]]:
    """Read a stream cut at random; return the frames and the reports."""
    reader, cuts, pieces = OggOpusReader(), random.Random(seed), list[NDArray[np.int16]]()
    while stream:
        size = cuts.randint(1, most)
        pieces.append(reader.decode(stream[:size]))
        stream = stream[size:]
    pieces.append(reader.finish())
    return np.concatenate(pieces), reader.irregularities()


Make = Callable[[TakenApart], bytes]
HARMLESS: dict[str, Make] = {
    "as it should be": lambda clip: clip.mux(),
    "one packet a page": lambda clip: clip.mux(per_page=1),
    "no page flagged last": lambda clip: clip.mux(last_flags=0),
    "no page flagged last, one packet a page": lambda clip: clip.mux(last_flags=0, per_page=1),
    "an empty packet at the end": lambda clip: clip.mux(per_page=1, behind=[b""]),
    "zeros behind it": lambda clip: clip.mux() + bytes(955),
    "an ID3 tag behind it": lambda clip: clip.mux() + b"TAG" + bytes(125),
    "an ID3 tag before it": lambda clip: b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + clip.mux(),
    "two ID3 tags before it": lambda clip: 2 * (b"ID3\x04\0\x10\0\0\1\0" + bytes(138)) + clip.mux(),
    "no tags": lambda clip: clip.mux(tags=False),
    "tags flagged first": lambda clip: clip.mux(tags_flags=2),
    "mapping family 1": lambda clip: clip.mux(head=opus_head(mapping_family=1, table=b"\1\0\0")),
    "mapping family 255": lambda clip: clip.mux(head=opus_head(mapping_family=255, table=b"\1\0\0")),
    "mapping family 77, which is not assigned": lambda clip: clip.mux(head=opus_head(mapping_family=77, table=b"\1\0\0")),
    "granule only at the end": lambda clip: clip.mux(granule=lambda frames, _, last: clip.end if last else -1),
    "a later version of the same kind": lambda clip: clip.mux(head=opus_head(version=15)),
    "joined late": lambda clip: clip.mux(granule=lambda frames, _, last: clip.right_granule(frames, 0, last) + 48_000),
}


@pytest.mark.parametrize("make", HARMLESS.values(), ids=HARMLESS.keys())
def test_harmless(make: Make, clip: TakenApart, wanted: NDArray[np.int16]) -> None:
    """All of it is returned, exact to the frame and to the sample, and nothing is reported."""
    heard, told = read(make(clip))
    assert told == []
    assert len(heard) == FRAMES
    assert np.abs(heard.astype(int) - wanted).max() <= 1


def _lost(clip: TakenApart) -> bytes:
    pages = split_pages(clip.mux(per_page=5))
    return b"".join(pages[:7] + pages[8:])


def _first_lost(clip: TakenApart) -> bytes:
    pages = split_pages(clip.mux(per_page=5))
    return b"".join(pages[:2] + pages[3:])


def _damaged(clip: TakenApart, at: int) -> bytes:
    pages = split_pages(clip.mux(per_page=5))
    pages[at] = pages[at][:-1] + bytes([pages[at][-1] ^ 1])
    return b"".join(pages)


def _cut_within(clip: TakenApart) -> bytes:
    pages = split_pages(clip.mux(per_page=5))
    pages[-3] = pages[-3][:200]
    return b"".join(pages)


def _foreign_cut(clip: TakenApart) -> bytes:
    return b"".join([*split_pages(clip.mux(per_page=5))[:-1], split_pages(clip.mux(per_page=5, serial=8))[-1][:-40]])


LESS_4 = FRAMES - (4 * 960 - 605)
IRREGULAR: dict[str, tuple[Make, int, list[str]]] = {
    "last granule 0": (lambda clip: clip.mux(granule=lambda frames, _, last: 0 if last else frames), 94_728, ["would cut off"]),
    "one page, granule 0": (lambda clip: clip.mux(per_page=200, granule=lambda *_: 0), 94_728, ["would cut off"]),
    "one page, in units of 16 kHz": (lambda clip: clip.mux(per_page=200, granule=lambda frames, *_: frames // 3), 94_728, ["cut off"]),
    "in units of 16 kHz": (lambda clip: clip.mux(granule=lambda frames, *_: frames // 3), 94_728, ["lower than", "cut off"]),
    "bytes for granules": (lambda clip: clip.mux(per_page=1, granule=lambda _, count, last: 70 * count), 94_728, ["lower", "cut off"]),
    "a packet too low": (lambda clip: clip.mux(granule=lambda *at: clip.right_granule(*at) - 960), FRAMES, ["960 samples lower"]),
    "one page too low": (
        lambda clip: clip.mux(per_page=10, granule=lambda frames, count, last: min(frames, clip.end) - 500 * (count == 30)),
        94_728,
        ["contradict", "would cut off"],
    ),
    "end before the pre-skip": (lambda clip: clip.mux(per_page=200, granule=lambda *_: 100), 94_728, ["would cut off"]),
    "a lost page": (_lost, FRAMES, ["1 Ogg pages are missing"]),
    "the first page with sound lost": (_first_lost, FRAMES, ["1 Ogg pages are missing"]),
    "a damaged page": (lambda clip: _damaged(clip, 7), FRAMES, ["1 Ogg pages are missing or damaged"]),
    "a damaged last page": (lambda clip: _damaged(clip, -1), LESS_4, ["last page is damaged"]),
    "cut within the last page": (lambda clip: clip.mux(per_page=5)[:-40], 94_728 - 960, ["truncated"]),
    "cut within the only page": (lambda clip: clip.mux(per_page=200)[:-40], 94_728 - 960, ["truncated"]),
    "cut within the header of a page": (lambda clip: b"".join(split_pages(clip.mux(per_page=5))[:-1]) + b"OggS\0", LESS_4, ["truncated"]),
    "cut within another stream's page": (_foreign_cut, LESS_4, ["truncated"]),
    "a page cut in the middle": (_cut_within, FRAMES, ["1 Ogg pages are missing or damaged"]),
    "a packet that cannot be": (lambda clip: clip.mux(per_page=1, packets=clip.packets[:-1], behind=[b"\x03"]), 94_728 - 960, ["left out"]),
}


@pytest.mark.parametrize(("make", "frames", "told"), IRREGULAR.values(), ids=IRREGULAR.keys())
def test_irregular(make: Make, frames: int, told: list[str], clip: TakenApart) -> None:
    """All sound is returned, nothing is cut off, and faults are reported, each kind once."""
    heard, texts = read(make(clip))
    assert len(heard) == frames
    assert [words in text for words, text in zip(told, texts, strict=True)] == [True] * len(told)


def test_every_packet_before_a_cut_is_heard(clip: TakenApart, wanted: NDArray[np.int16]) -> None:
    """For any cut of the only page with sound."""
    stream = clip.mux(per_page=200)
    ends = len(stream) - sum(map(len, clip.packets)) + np.cumsum([len(packet) for packet in clip.packets])
    for cut in range(int(ends[1]), len(stream) - 1, 701):
        heard, _ = read(stream[:cut])
        assert len(heard) == int((ends <= cut).sum()) * 960 - clip.pre_skip
        assert np.abs(heard[:FRAMES].astype(int) - wanted[: len(heard)]).max() <= 1


def test_what_is_beyond_the_end_of_a_page_is_heard_if_the_stream_goes_on(clip: TakenApart, wanted: NDArray[np.int16]) -> None:
    """A position slightly too low, not at the end, loses nothing."""
    heard, told = read(clip.mux(per_page=10, granule=lambda frames, count, last: frames - 300 * (count == 20), last_flags=0))
    assert len(heard) == clip.frames - clip.pre_skip
    assert np.abs(heard[:FRAMES].astype(int) - wanted).max() <= 1
    assert len(told) == 1


def test_chains(clip: TakenApart, wanted: NDArray[np.int16]) -> None:
    """Each link has its pre-skip and its end, also if one lacks the flag, or follows an ID3 tag."""
    links = [clip.mux(last_flags=0), b"ID3\x03\0\0\0\0\0\x0a" + bytes(10), clip.mux(serial=8), clip.mux(serial=9)]
    heard, told = read(b"".join(links))
    assert told == []
    assert np.abs(heard.astype(int) - np.tile(wanted, 3)).max() <= 1


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        (opus_head(channels=0), "0 channels in mapping family 0"),
        (opus_head(channels=3), "3 channels in mapping family 0"),
        (opus_head(channels=9, mapping_family=1, table=bytes(11)), "9 channels"),
        (opus_head(channels=2, mapping_family=3, table=bytes(30)), "mapping family 3"),
        (opus_head(channels=2, mapping_family=1), "19 bytes; with a mapping of 2 channels it has 23"),
        (opus_head(channels=2, mapping_family=1, table=b"\0\0\0\0"), "cannot be"),
        (opus_head(channels=2, mapping_family=1, table=b"\1\2\0\1"), "cannot be"),
        (opus_head(channels=2, mapping_family=1, table=b"\1\1\0\2"), "cannot be"),
        (opus_head(version=16), "version 16"),
        (b"OpusHead\1", "9 bytes"),
    ],
)
def test_heads_that_are_refused(head: bytes, complaint: str) -> None:
    """RFC 7845, 5.1."""
    with pytest.raises(SoundError, match=complaint):
        parse_head(head)


def test_a_stream_without_sound_is_an_error(clip: TakenApart) -> None:
    """Reported once."""
    reader = OggOpusReader()
    reader.decode(make_page([clip.head], flags=2) + make_page([clip.tags], sequence=1, flags=LAST))
    with pytest.raises(SoundError, match="before any audio"):
        reader.finish()
    assert not len(reader.finish())


def test_stereo_is_the_mean_of_what_opusdec_gives(tmp_path: Path) -> None:
    """Unlike libopus when asked for mono: both channels are decoded and then mixed."""
    need_opus_tools()
    mono = tones(0.8)
    stream = encode(tmp_path, np.stack([mono, np.roll(mono, 400) // 2], axis=1), "--bitrate", "160", channels=2)
    mixed = reference(tmp_path, stream).reshape(-1, 2).mean(axis=1)
    heard, told = read(stream)
    assert told == []
    assert np.abs(heard - mixed).max() <= 2


def test_silent_channels_and_swapped_ones(clip: TakenApart, wanted: NDArray[np.int16]) -> None:
    """A mapping may name a channel twice, or none (255)."""
    twice, _ = read(clip.mux(head=opus_head(channels=2, mapping_family=255, table=b"\1\0\0\0")))
    assert np.abs(twice.astype(int) - wanted).max() <= 1
    half, _ = read(clip.mux(head=opus_head(channels=2, mapping_family=1, table=b"\1\0\0\xff")))
    assert np.abs(half - wanted / 2).max() <= 1
