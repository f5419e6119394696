"""The sound of one conversation, from payloads to samples."""

import numpy as np
import pytest

from avatar_relay.errors import SoundError
from avatar_relay.media import AudioFormat, Codec, Kind, Payload
from avatar_relay.reasons import Reason
from edge_client.audio.decoders import make_decoder
from edge_client.audio.sink import Pcm
from edge_client.audio.stream import GAP_WAIT_US, SLICE_BYTES, AudioStream
from tests.edge_client.playback_bench import PCM, RATE_HZ, audio_payloads, tone


def _stream(format: AudioFormat = PCM) -> AudioStream:
    return AudioStream(make_decoder(format, RATE_HZ), format, max_bytes=1 << 20)


def _taken(stream: AudioStream) -> Pcm:
    return np.concatenate([ready.pcm for ready in stream.take(1 << 30)] or [np.zeros(0, np.int16)])


def test_decodes_no_further_than_asked() -> None:
    """A large payload is decoded slice by slice; its bytes are freed with the slices."""
    stream = _stream()
    payload = Payload(Kind.AUDIO, 1, tone(RATE_HZ).astype("<i2").tobytes(), 0, 1_000_000)
    stream.push(payload)
    done = stream.decode(1_000, 0)
    assert stream.ready_frames == SLICE_BYTES // 2
    assert done.freed_bytes == SLICE_BYTES
    assert done.seqs == []
    assert stream.held_bytes == len(payload.data) - SLICE_BYTES


def test_complete_when_all_up_to_the_end_is_decoded() -> None:
    """`end` may arrive before the last payload."""
    stream = _stream()
    first, last = audio_payloads(tone(1_920))
    stream.push(first)
    stream.end(2)
    stream.decode(10_000, 0)
    assert not stream.complete
    stream.push(last)
    stream.decode(10_000, 0)
    assert stream.complete
    assert not stream.drained
    assert _taken(stream).tolist() == tone(1_920).tolist()
    assert stream.drained
    assert stream.length_us == 40_000


def test_gap_is_waited_for_then_filled_for_as_long_as_it_is() -> None:
    """The PTS of later sound is correct."""
    stream = _stream()
    payloads = audio_payloads(tone(4_800))
    for payload in (*payloads[:2], *payloads[3:]):
        stream.push(payload)
    stream.end(5)
    stream.decode(10_000, 0)
    assert len(_taken(stream)) == 1_920
    assert not stream.decode(10_000, GAP_WAIT_US - 1).faults
    done = stream.decode(10_000, GAP_WAIT_US)
    assert [fault.reason for fault in done.faults] == [Reason.SEQUENCE_GAP]
    rest = stream.take(1 << 30)
    assert sum(len(ready.pcm) for ready in rest) == 2_880
    assert rest[-1].pts_frame == 3_840
    assert rest[-1].pcm.tolist() == tone(4_800)[3_840:].tolist()


def test_gap_is_given_up_at_once_where_there_is_no_time() -> None:
    """In `LIVE`, a gap is given up when the sound is about to run dry."""
    stream = _stream()
    payloads = audio_payloads(tone(2_880))
    stream.push(payloads[0])
    stream.push(payloads[2])
    stream.decode(10_000, 0, can_wait=False)
    assert stream.ready_frames == 2_880


def test_a_gap_that_claims_to_be_long_is_not_filled() -> None:
    """A wrong PTS does not cause an hour of silence; later sound moves up."""
    stream = _stream()
    first, second = audio_payloads(tone(1_920))
    stream.push(first)
    stream.push(second._replace(seq=3, pts_us=3_600_000_000))
    stream.decode(10_000, 0, can_wait=False)
    *_, last = stream.take(1 << 30)
    assert last.pts_frame == pytest.approx(3_600 * RATE_HZ, abs=1)


class Picky:
    """A decoder that refuses a payload of zeros."""

    rate_hz = RATE_HZ

    def decode(self, data: bytes) -> Pcm:
        """Samples, or `SoundError` for zeros."""
        if not any(data):
            raise SoundError("nothing but zeros")
        return np.frombuffer(data, "<i2").astype(np.int16)

    def conceal(self, frames: int) -> Pcm:
        """Silence."""
        return np.zeros(frames, np.int16)

    def finish(self) -> Pcm:
        """A stream that is cut short."""
        raise SoundError("cut short")

    def irregularities(self) -> list[str]:
        """None."""
        return []


def test_undecodable_payload_is_concealed_and_the_rest_is_played() -> None:
    """Reported once, counted each time; the timeline is kept, and the stream is failed. The gap ends in a lead-in of 5 ms."""
    stream = AudioStream(Picky(), PCM, max_bytes=1 << 20)
    payloads = audio_payloads(tone(4_800))
    for payload in payloads:
        stream.push(payload._replace(data=bytes(len(payload.data))) if payload.seq in (2, 3) else payload)
    stream.end(5)
    done = stream.decode(10_000, 0)
    assert [fault.reason for fault in done.faults] == [Reason.AUDIO_UNDECODABLE]
    assert done.dropped_payloads == 2
    assert done.freed_bytes == 9_600
    expected = tone(4_800)
    expected[960:2_640] = 0
    taken = _taken(stream)
    assert [*taken[:2_640], *taken[2_880:]] == [*expected[:2_640], *expected[2_880:]]
    assert stream.failed
    assert stream.complete


def test_every_byte_is_freed_once_also_where_a_slice_fails() -> None:
    """Bytes freed while decoding plus those held at the end equal the bytes received."""
    stream = AudioStream(Picky(), PCM, max_bytes=1 << 20)
    data = b"\x01" * SLICE_BYTES + bytes(3 * SLICE_BYTES)
    stream.push(Payload(Kind.AUDIO, 1, data))
    stream.push(Payload(Kind.AUDIO, 2, b"\x01" * SLICE_BYTES))
    done = stream.decode(1, 0)
    done_later = stream.decode(1 << 20, 0)
    assert done.freed_bytes + done_later.freed_bytes == len(data) + SLICE_BYTES
    assert stream.held_bytes == 0


def test_bare_opus_packets_are_never_sliced() -> None:
    """A packet is decoded whole, however large."""
    stream = _stream(AudioFormat(Codec.OPUS))
    stream.push(Payload(Kind.AUDIO, 1, b"\xff" * (SLICE_BYTES + 10)))
    stream.end(1)
    done = stream.decode(1_000, 0)
    assert done.freed_bytes == SLICE_BYTES + 10
    assert done.dropped_payloads == 1


class Miserly:
    """A decoder that returns all samples at the end, and at first only reports that the stream is cut short."""

    rate_hz = RATE_HZ

    def __init__(self) -> None:
        self._told = False

    def decode(self, data: bytes) -> Pcm:
        """Nothing yet."""
        return np.zeros(0, np.int16)

    def conceal(self, frames: int) -> Pcm:
        """Silence."""
        return np.zeros(frames, np.int16)

    def finish(self) -> Pcm:
        """An error, then the samples that could be saved."""
        if not self._told:
            self._told = True
            raise SoundError("cut short")
        return tone(480)

    def irregularities(self) -> list[str]:
        """None."""
        return []


def test_a_stream_that_is_cut_short_gives_what_can_be_saved() -> None:
    """A resampler's last 40 ms are heard even if the last payload is damaged."""
    stream = AudioStream(Miserly(), PCM, max_bytes=1 << 20)
    stream.push(Payload(Kind.AUDIO, 1, b"\0\0"))
    stream.end(1)
    done = stream.decode(1_000, 0)
    assert [fault.reason for fault in done.faults] == [Reason.AUDIO_UNDECODABLE]
    assert stream.failed
    assert _taken(stream).tolist() == tone(480).tolist()


def test_a_gap_is_not_given_out_before_what_follows_is_known() -> None:
    """Concealment has to lead into the sound that follows."""
    stream = AudioStream(Picky(), PCM, max_bytes=1 << 20)
    first, second, third = audio_payloads(tone(2_880))
    stream.push(first)
    stream.push(second._replace(data=bytes(1_920)))
    stream.decode(10_000, 0)
    assert stream.ready_frames == 960
    stream.push(third)
    stream.decode(10_000, 0)
    assert stream.ready_frames == 2_880
