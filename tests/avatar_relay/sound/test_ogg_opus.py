from __future__ import annotations

import random
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.errors import SoundError
from avatar_relay.media import AudioFormat, Codec
from avatar_relay.sound.ogg import MAX_UNSYNCED_BYTES, OggPages, PacketAssembler, page_checksum
from avatar_relay.sound.ogg_opus import OggOpusReader
from edge_client.audio.decoder import AudioDecoder
from edge_client.audio.decoders import make_decoder
from edge_client.audio.sink import Pcm
from tests.avatar_relay.sound.ogg_muxing import make_page, opus_head, split_pages
from tests.edge_client.audio.decoders.clips import encode, need_opus_tools, reference, tones
from tests.lab.data import alsa_sample

_FIRST, _LAST, _CONTINUED = 2, 4, 1


def _decode(stream: bytes, *, decoder: AudioDecoder | None = None, seed: int = 0, most: int = 1_500) -> Pcm:
    """Decode a stream cut at random."""
    decoder = decoder or OggOpusReader()
    cuts = random.Random(seed)
    pieces = []
    while stream:
        size = cuts.randint(1, most)
        pieces.append(decoder.decode(stream[:size]))
        stream = stream[size:]
    return np.concatenate([*pieces, decoder.finish()])


def _within_one_step(heard: Pcm, wanted: Pcm) -> bool:
    return len(heard) == len(wanted) and bool(np.abs(heard.astype(int) - wanted).max() <= 1)


@pytest.fixture(scope="module")
def short_pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Pcm]:
    """1.2 s in pages of 40 ms, and its decoding by opusdec."""
    need_opus_tools()
    folder = tmp_path_factory.mktemp("ogg")
    stream = encode(folder, tones(1.2), "--max-delay", "40")
    return stream, reference(folder, stream)


@pytest.mark.parametrize(
    ("options", "amplitude"),
    [
        ((), 9_000.0),
        (("--max-delay", "40"), 9_000.0),
        (("--framesize", "2.5", "--bitrate", "96"), 9_000.0),
        (("--framesize", "60", "--bitrate", "12"), 9_000.0),
        (("--bitrate", "160"), 60_000.0),
    ],
    ids=["default", "short pages", "2.5 ms", "60 ms at 12 kbit/s", "clipping"],
)
def test_equals_opusdec(options: tuple[str, ...], amplitude: float, tmp_path: Path) -> None:
    """Cut anywhere, a stream decodes like in opusdec: pre-skip and the padding at the end are removed."""
    need_opus_tools()
    samples = tones(1.234, amplitude=amplitude)
    stream = encode(tmp_path, samples, *options)
    heard = _decode(stream)
    assert len(heard) == len(samples)
    assert _within_one_step(heard, reference(tmp_path, stream))


def test_real_speech_equals_opusdec(tmp_path: Path) -> None:
    """The same for recorded speech."""
    need_opus_tools()
    with wave.open(str(alsa_sample("Front_Center.wav"))) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    stream = encode(tmp_path, samples)
    assert _within_one_step(_decode(stream, most=7), reference(tmp_path, stream))


def test_one_byte_at_a_time(short_pages: tuple[bytes, Pcm]) -> None:
    """The smallest possible payloads."""
    stream, wanted = short_pages
    assert _within_one_step(_decode(stream, most=1), wanted)


def test_pages_are_given_as_they_come(short_pages: tuple[bytes, Pcm]) -> None:
    """Samples of a page are returned with its last byte, not with the next page."""
    decoder = OggOpusReader()
    counts = [len(decoder.decode(page)) for page in split_pages(short_pages[0])]
    assert counts[:2] == [0, 0]
    assert all(count > 0 for count in counts[2:-1])


def test_output_gain(short_pages: tuple[bytes, Pcm], tmp_path: Path) -> None:
    """The head's gain, in 1/256 dB, is applied."""
    pages = split_pages(short_pages[0])
    pages[0] = make_page([opus_head(gain_q8=-6 * 256)], serial=int.from_bytes(pages[0][14:18], "little"), flags=_FIRST)
    stream = b"".join(pages)
    heard = _decode(stream)
    assert _within_one_step(heard, reference(tmp_path, stream))
    assert np.std(heard) == pytest.approx(np.std(short_pages[1]) * 10 ** (-6 / 20), rel=0.01)


def test_chained_streams(short_pages: tuple[bytes, Pcm], tmp_path: Path) -> None:
    """A second stream right after the first has its own head; both are whole."""
    first, wanted = short_pages
    second = encode(tmp_path, tones(0.7, amplitude=5_000), "--serial", "77")
    assert _within_one_step(_decode(first + second), np.concatenate([wanted, reference(tmp_path, second)]))


def test_stereo_is_mixed_down(tmp_path: Path) -> None:
    """A stereo stream is returned as mono, as the mean of opusdec's channels."""
    need_opus_tools()
    mono = tones(0.8)
    stereo = np.stack([mono, mono // 2], axis=1)
    stream = encode(tmp_path, stereo, "--bitrate", "160", channels=2)
    mixed = reference(tmp_path, stream).reshape(-1, 2).mean(axis=1)
    heard = _decode(stream)
    assert len(heard) == len(mono)
    assert np.std(heard - mixed) < 0.02 * np.std(mixed)


def test_other_streams_beside_it_are_passed_over(short_pages: tuple[bytes, Pcm]) -> None:
    """Pages of another logical stream between ours."""
    stream, wanted = short_pages
    pages = split_pages(stream)
    alien = [make_page([b"\x01vorbis"], serial=9, flags=_FIRST), make_page([bytes(700)], serial=9, sequence=1)]
    mixed = [alien[0], pages[0], alien[1], *pages[1:]]
    assert _within_one_step(_decode(b"".join(mixed)), wanted)


@pytest.mark.parametrize("damage", ["missing", "mutated"])
def test_lost_page_is_filled(short_pages: tuple[bytes, Pcm], damage: str) -> None:
    """Missing or damaged pages are concealed, and everything after them keeps its position."""
    stream, wanted = short_pages
    pages = split_pages(stream)
    if damage == "missing":
        del pages[10]
    else:
        pages[10] = pages[10][:200] + bytes([pages[10][200] ^ 1]) + pages[10][201:]
    heard = _decode(b"".join(pages))
    assert len(heard) == len(wanted)
    assert np.array_equal(heard[: 7 * 1_920], wanted[: 7 * 1_920])
    error = heard[-9_600:].astype(float) - wanted[-9_600:]
    assert np.std(error) < 0.05 * np.std(wanted)


def test_gap_that_the_caller_concealed_is_not_filled_twice(short_pages: tuple[bytes, Pcm]) -> None:
    """The caller noticed the missing payload and concealed it: the granule position shows no gap any more."""
    stream, wanted = short_pages
    pages = split_pages(stream)
    decoder = OggOpusReader()
    pieces = [decoder.decode(page) for page in pages[:10]]
    pieces.append(decoder.conceal(1_920))
    pieces += [decoder.decode(page) for page in pages[11:]]
    assert len(np.concatenate([*pieces, decoder.finish()])) == len(wanted)


def test_cut_short(short_pages: tuple[bytes, Pcm]) -> None:
    """A stream that ends within a page is reported; all complete packets are returned."""
    stream, wanted = short_pages
    decoder = OggOpusReader()
    pages = decoder.decode(b"".join(split_pages(stream)[:-1])[:-10])
    heard = np.concatenate((pages, decoder.finish()))
    assert len(pages) < len(heard) < len(wanted)
    assert np.array_equal(heard, wanted[: len(heard)])
    assert not len(decoder.finish())
    (told,) = decoder.irregularities()
    assert "truncated" in told


def test_end_without_the_last_flag(short_pages: tuple[bytes, Pcm]) -> None:
    """A live stream that ends at a page border is not an error."""
    stream, wanted = short_pages
    heard = _decode(b"".join(split_pages(stream)[:-1]))
    assert np.array_equal(heard, wanted[: len(heard)])


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [
        (b"RIFF....WAVE", r"RIFF \(WAV\)"),
        (b"hello, world", "begin with 68 65 6c 6c"),
        (make_page([b"\x01vorbis"], flags=_FIRST) + make_page([b"x"], sequence=1), "Vorbis"),
        (make_page([b"x"], sequence=1), "no OpusHead"),
        (make_page([opus_head(channels=6, mapping_family=1)], flags=_FIRST), "6 channels"),
        (make_page([opus_head(version=16)], flags=_FIRST), "version 16"),
        (make_page([b"OpusHead\x01"], flags=_FIRST), "9 bytes"),
        (make_page([opus_head()], flags=_FIRST)[:-1] + b"\x01", "first Ogg page is damaged"),
        (b"", "before any OpusHead"),
    ],
)
def test_stream_that_is_refused(stream: bytes, complaint: str) -> None:
    """Anything but Opus is refused with a text that names the actual format."""
    decoder = OggOpusReader()
    with pytest.raises(SoundError, match=complaint):
        decoder.decode(stream)
        decoder.finish()


def test_bad_packet_in_a_good_page(short_pages: tuple[bytes, Pcm]) -> None:
    """An undecodable packet is concealed and reported; nothing else is lost."""
    stream, wanted = short_pages
    pages = split_pages(stream)
    serial = int.from_bytes(pages[0][14:18], "little")
    granule = int.from_bytes(pages[5][6:14], "little")
    bad = make_page([bytes([31 << 3 | 1, 1, 2, 0])], granule=granule + 1_920, sequence=6, serial=serial)
    decoder = OggOpusReader()
    heard = _decode(b"".join([*pages[:6], bad, *pages[7:]]), decoder=decoder)
    assert len(heard) == len(wanted)
    (told,) = decoder.irregularities()
    assert "damaged Opus packet" in told


def test_concealment_after_an_error_begins_with_what_was_good(short_pages: tuple[bytes, Pcm]) -> None:
    """A payload with a good page and an invalid stream: its concealment includes the good samples, and nothing is counted twice."""
    stream, wanted = short_pages
    pages = split_pages(stream)
    decoder = OggOpusReader()
    head = decoder.decode(b"".join(pages[:6]))
    with pytest.raises(SoundError, match="version 16"):
        decoder.decode(pages[6] + make_page([opus_head(version=16)], flags=_FIRST, serial=9))
    concealed = decoder.conceal(2_500)
    assert len(concealed) == 2_500
    assert np.array_equal(concealed[:1_920], wanted[len(head) : len(head) + 1_920])


def test_no_page_for_long(short_pages: tuple[bytes, Pcm]) -> None:
    """A stream that changes into something else is an error after a bounded search; a later page is found."""
    stream, _ = short_pages
    pages = split_pages(stream)
    decoder = OggOpusReader()
    decoder.decode(b"".join(pages[:5]))
    with pytest.raises(SoundError, match="no Ogg page"):
        decoder.decode(bytes(MAX_UNSYNCED_BYTES + 10))
    assert len(decoder.decode(pages[5]))


def test_packet_over_many_pages_is_bounded() -> None:
    """A packet that never ends is stored up to the bound only."""
    assembler = PacketAssembler(1_000)
    pages = OggPages()
    body = b"\xff" * 255
    for sequence in range(40):
        header = b"OggS\0" + bytes([_CONTINUED if sequence else 0]) + bytes(8) + bytes(4) + sequence.to_bytes(4, "little")
        page = header + bytes(4) + bytes([255]) + body + bytes(255 * 255)
        page = page[:22] + page_checksum(page).to_bytes(4, "little") + page[26:]
        for parsed in pages.feed(page):
            assert assembler.add(parsed) == ([], 0)
    (last,) = pages.feed(make_page([b"end"], sequence=40, flags=_CONTINUED))
    packets, _ = assembler.add(last)
    assert [len(packet) for packet in packets] == [1_000]


@given(seed=st.integers(0, 10**6), changes=st.integers(1, 12))
def test_mutated_streams_give_samples_or_an_error(short_pages: tuple[bytes, Pcm], seed: int, changes: int) -> None:
    """Flipped, removed and repeated stretches: no hang, no other exception, and little more output than input."""
    stream, wanted = bytearray(short_pages[0]), short_pages[1]
    chance = random.Random(seed)
    for _ in range(changes):
        at, length = chance.randrange(len(stream)), chance.randrange(1, 300)
        match chance.randrange(3):
            case 0:
                stream[at] ^= 1 << chance.randrange(8)
            case 1:
                del stream[at : at + length]
            case _:
                stream[at:at] = stream[at : at + length]
    decoder = make_decoder(AudioFormat(Codec.OGG_OPUS), 48_000)
    frames = 0
    for start in range(0, len(stream), 777):
        try:
            frames += len(decoder.decode(bytes(stream[start : start + 777])))
        except SoundError:
            continue
    assert frames <= 2 * len(wanted) + changes * 10 * 48_000


@given(data=st.lists(st.sampled_from([b"OggS", b"OggS\0", b"OpusHead", b"\0", b"\xff", bytes(30), b"\xff" * 300]), max_size=300))
def test_noise_that_looks_like_pages(data: list[bytes]) -> None:
    """Capture patterns and lengths without pages are skipped in bounded time and memory."""
    pages = OggPages()
    list(pages.feed(make_page([opus_head()], flags=_FIRST)))
    try:
        for piece in data:
            list(pages.feed(piece))
    except SoundError:
        pass
    assert pages.pending_bytes <= 1 << 16
