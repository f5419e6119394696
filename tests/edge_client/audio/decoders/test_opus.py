from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.errors import SoundError
from avatar_relay.media import AudioFormat, Codec
from avatar_relay.sound.opus import MAX_PACKET_BYTES, packet_frames
from edge_client.audio.decoders import make_decoder
from edge_client.audio.decoders.opus import OpusPacketDecoder
from tests.avatar_relay.sound.ogg_muxing import split_pages
from tests.edge_client.audio.decoders.clips import encode, need_opus_tools, reference, tones


def _packets(stream: bytes) -> list[bytes]:
    """The audio packets of a stream whose packets do not cross pages."""
    packets = []
    for page in split_pages(stream)[2:]:
        start = 27 + page[26]
        for length in page[27:start]:
            packets.append(page[start : start + length])
            start += length
    return packets


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], np.ndarray]:
    """Packets of less than 255 bytes, and the same decoded by opusdec."""
    need_opus_tools()
    folder: Path = tmp_path_factory.mktemp("opus")
    stream = encode(folder, tones(1.0), "--hard-cbr", "--bitrate", "64")
    return _packets(stream), reference(folder, stream)


def test_equals_opusdec(clip: tuple[list[bytes], np.ndarray]) -> None:
    """Bare packets decode to the output of opusdec, after the pre-skip that bare packets do not carry."""
    packets, wanted = clip
    decoder = make_decoder(AudioFormat(Codec.OPUS), 48_000)
    heard = np.concatenate([decoder.decode(packet) for packet in packets])[312:]
    assert np.abs(heard[: len(wanted)].astype(int) - wanted).max() <= 1


def test_at_another_rate(clip: tuple[list[bytes], np.ndarray]) -> None:
    """For a sink at 16 kHz there are a third as many samples."""
    packets, _ = clip
    decoder = make_decoder(AudioFormat(Codec.OPUS), 16_000)
    heard = np.concatenate([*(decoder.decode(packet) for packet in packets), decoder.finish()])
    assert len(heard) == len(packets) * 960 // 3


def test_concealment_sounds_on_and_fades(clip: tuple[list[bytes], np.ndarray]) -> None:
    """Concealment of a gap continues the last sound, is silent from 60 ms on, and has the requested length."""
    packets, _ = clip
    decoder = OpusPacketDecoder()
    before = np.concatenate([decoder.decode(packet) for packet in packets[:20]])[-960:].astype(float)
    concealed = np.concatenate([decoder.conceal(frames) for frames in (100, 860, 4_000)])
    assert len(concealed) == 4_960
    assert np.std(concealed[:960]) > 0.3 * np.std(before)
    assert np.std(concealed[2_640:2_880]) < 0.3 * np.std(before)
    assert not concealed[2_880:].any()
    assert len(decoder.decode(packets[21])) == 960


@pytest.mark.parametrize(
    ("packet", "frames"),
    [
        (bytes([0 << 3]), 480),
        (bytes([3 << 3 | 1]), 5_760),
        (bytes([15 << 3 | 2]), 1_920),
        (bytes([16 << 3, 7]), 120),
        (bytes([31 << 3 | 3, 6]), 5_760),
    ],
)
def test_length_of_a_packet(packet: bytes, frames: int) -> None:
    """The length follows from the first bytes: SILK 10 ms, 2 x 60 ms, hybrid 2 x 20 ms, CELT 2.5 ms, 6 x 20 ms."""
    assert packet_frames(packet) == frames


@pytest.mark.parametrize(
    ("packet", "complaint"),
    [
        (b"", "empty"),
        (bytes([3]), "one byte"),
        (bytes([3, 0]), "0 frames"),
        (bytes([31 << 3 | 3, 7]), "140 ms"),
        (bytes(MAX_PACKET_BYTES + 1), "61441 bytes"),
        (bytes([31 << 3 | 1, 1, 2]) + b"\0", "damaged|payload 1"),
    ],
)
def test_damaged_packet(packet: bytes, complaint: str, clip: tuple[list[bytes], np.ndarray]) -> None:
    """An invalid packet raises an error that names it and the reason; the next one decodes."""
    decoder = OpusPacketDecoder()
    with pytest.raises(SoundError, match=complaint):
        decoder.decode(packet)
    assert len(decoder.decode(clip[0][0])) == 960


@given(packet=st.binary(max_size=300))
def test_any_bytes_give_samples_or_an_error(packet: bytes) -> None:
    """Arbitrary bytes from a peer yield at most 120 ms of samples, or raise `SoundError`."""
    decoder = OpusPacketDecoder()
    with contextlib.suppress(SoundError):
        assert len(decoder.decode(packet)) == packet_frames(packet)
