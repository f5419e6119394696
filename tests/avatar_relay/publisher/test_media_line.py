"""Cutting audio and counting keyframes: bytes are unchanged, positions join without gaps and do not drift."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay import avatarkit
from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.limits import MAX_FRAGMENT_BYTES, MAX_PCM_PAYLOAD_US, PCM_RATES_HZ
from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat
from avatar_relay.opus_packets import packet_duration_us
from avatar_relay.publisher.errors import InvalidMediaError
from avatar_relay.publisher.media_line import MotionLine, PcmLine, audio_line


@given(rate_hz=st.sampled_from(PCM_RATES_HZ), sizes=st.lists(st.integers(0, 30_000), max_size=8))
def test_pcm_cut_anywhere_keeps_every_sample_and_its_place(rate_hz: int, sizes: list[int]) -> None:
    """Payloads contain whole samples, at most 100 ms, join without gaps, and end at the position of the sample count."""
    data = np.random.default_rng(len(sizes)).bytes(sum(sizes))
    line, start, slices = PcmLine(AudioFormat(Codec.PCM_S16LE, rate_hz)), 0, []
    for size in sizes:
        slices += line.cut(data[start : start + size])
        start += size
    whole = len(data) // 2 * 2
    assert b"".join(piece.data for piece in slices) == data[:whole]
    assert line.carried_bytes == len(data) - whole
    assert all(piece.data and len(piece.data) % 2 == 0 and piece.duration_us <= MAX_PCM_PAYLOAD_US for piece in slices)
    ends_us = [0, *((piece.pts_us or 0) + piece.duration_us for piece in slices)]
    assert [piece.pts_us for piece in slices] == ends_us[:-1]
    assert ends_us[-1] == line.length_us == whole // 2 * 1_000_000 // rate_hz


def test_an_hour_of_pcm_does_not_drift() -> None:
    """22,050 Hz does not divide a million: sums of rounded durations would be off by milliseconds."""
    line = PcmLine(AudioFormat(Codec.PCM_S16LE, 22_050))
    block = bytes(2 * 22_050 // 7)
    for _ in range(7 * 3_600):
        line.cut(block)
    assert line.length_us == 7 * 3_600 * (22_050 // 7) * 1_000_000 // 22_050


@given(sizes=st.lists(st.integers(0, 50_000), max_size=5))
def test_ogg_keeps_its_bytes_and_claims_no_place(sizes: list[int]) -> None:
    """The stream carries its own positions; pieces need no fragments."""
    line = audio_line(AudioFormat(Codec.OGG_OPUS))
    blocks = [bytes([index + 1]) * size for index, size in enumerate(sizes)]
    slices = [piece for block in blocks for piece in line.cut(block)]
    assert b"".join(piece.data for piece in slices) == b"".join(blocks)
    assert all(piece.pts_us is None and 0 < len(piece.data) <= MAX_FRAGMENT_BYTES for piece in slices)
    assert line.length_us is None


@given(rate=st.sampled_from([24.0, 25.0, 29.97, 30.0, 60.0]), counts=st.lists(st.integers(1, 100), min_size=1, max_size=30))
def test_motion_places_join_and_do_not_drift(rate: float, counts: list[int]) -> None:
    """Keyframe n is at n / rate, however the windows are cut."""
    motion_format = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, rate, ARKIT_NAMES)
    line, rate = MotionLine(motion_format), motion_format.keyframes_per_second
    placed = [line.place(line.inspect(np.zeros((rows, 52), "<f4").tobytes())) for rows in counts]
    starts = [round(sum(counts[:index]) * 1_000_000 / rate) for index in range(len(counts) + 1)]
    assert [piece.pts_us for piece in placed] == starts[:-1]
    assert [(piece.pts_us or 0) + piece.duration_us for piece in placed] == starts[1:]


@pytest.mark.parametrize(("keyframes", "end"), [(0, True), (1, False), (57, True)])
def test_avatarkit_is_counted_on_a_copy(keyframes: int, end: bool) -> None:
    """The payload contains the original bytes; an empty end message is motion of zero length."""
    data = avatarkit.write(avatarkit.AvatarKitMotion("c", "r", end, "", np.zeros((keyframes, 120), np.float32)))
    line = MotionLine(MotionFormat(MotionEncoding.AVATARKIT_V2))
    message = line.inspect(data)
    assert (message.keyframes, message.is_last) == (keyframes, end)
    piece = line.place(message)
    assert piece.data is data
    assert (piece.pts_us, piece.duration_us) == (0, keyframes * 40_000)


@given(data=st.binary(max_size=200))
def test_any_bytes_as_motion_are_read_or_refused_clearly(data: bytes) -> None:
    """Only the library's own error is raised."""
    for motion_format in (MotionFormat(MotionEncoding.AVATARKIT_V2), MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 30.0, ("jawOpen",))):
        try:
            assert MotionLine(motion_format).inspect(data).data == data
        except InvalidMediaError as error:
            assert error.fault.text


# --- Opus ----------------------------------------------------------------------------------------------------------


@given(packet=st.binary(min_size=1, max_size=40))
def test_packet_durations_agree_with_libopus(packet: bytes) -> None:
    """The reference decoder counts the same samples; packets it calls invalid by their header are refused."""
    opus = pytest.importorskip("opuslib_next.api.decoder")
    try:
        expected_us = opus.packet_get_nb_frames(packet) * opus.packet_get_samples_per_frame(packet, 48_000) * 1_000 // 48
    except Exception:
        expected_us = 0
    try:
        assert packet_duration_us(packet) == expected_us
    except ValueError:
        assert not 0 < expected_us <= 120_000 or (packet[0] & 3 == 1 and len(packet) % 2 == 0)


@pytest.mark.parametrize(
    ("packet", "why"),
    [(b"", "empty"), (b"\x03", "frame count"), (b"\x0b\x00", "0 frames"), (b"\x1b\x3f", "120 ms"), (b"\x09\x00", "one size")],
)
def test_what_can_not_be_a_packet_is_refused(packet: bytes, why: str) -> None:
    """With the reason and the remedy."""
    with pytest.raises(ValueError, match=why):
        packet_duration_us(packet)
    with pytest.raises(InvalidMediaError, match=why) if packet else nullcontext():
        audio_line(AudioFormat(Codec.OPUS)).cut(packet)


@given(st.lists(st.floats(width=32), min_size=1, max_size=40), st.sampled_from([1, 2, 5]))
def test_any_weight_that_is_no_finite_number_is_found(values: list[float], names: int) -> None:
    """The first one is reported by row and column; numbers of any size are accepted."""
    values += [0.0] * (-len(values) % names)
    line = MotionLine(MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 25.0, tuple(f"w{at}" for at in range(names))))
    data = np.asarray(values, "<f4").tobytes()
    first = next((at for at, value in enumerate(values) if not np.isfinite(value)), None)
    if first is None:
        assert line.inspect(data).keyframes == len(values) // names
        return
    with pytest.raises(InvalidMediaError) as caught:
        line.inspect(data)
    assert f"weight {first % names} of row {first // names} is" in caught.value.fault.text
