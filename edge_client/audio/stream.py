"""The sound of one conversation, from payloads to samples that are ready to be released.

Rules of the stream:
1. Payloads stay encoded in the jitter buffer and are decoded ahead only as far as the caller asks; a payload of a byte stream is decoded in
   slices, because Opus expands tenfold and more.
2. PTS is counted in decoded samples, from 0. A gap that is given up, and a payload that cannot be decoded, are concealed for their
   duration, if known, so that the PTS of all that follows stays right. Concealed sound is held back until what follows is decoded, because
   it ends in a lead-in to that.
3. A gap is given up after `GAP_WAIT_US`, or at once if the caller cannot wait.
4. The stream is complete when `end` was called and all up to the last payload is decoded or given up; `finish` of the decoder returns the
   last samples; if it raises, the stream was cut short, and a second call returns what can be recovered. An undecodable payload makes it
   `failed`, and what can be decoded is still played. Irregularities that are still heard are reported, and fail nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from avatar_relay.errors import SoundError
from avatar_relay.media import AudioFormat, Payload
from avatar_relay.reasons import Fault, Reason
from edge_client.audio.concealment import into
from edge_client.audio.decoder import AudioDecoder
from edge_client.audio.jitter_buffer import JitterBuffer, PushResult
from edge_client.audio.sink import Pcm

GAP_WAIT_US = 5_000_000
"""`BURST`: how long to wait for a payload that others have overtaken."""
SLICE_BYTES = 4_096
"""Payloads of a byte stream are decoded in slices of this size: 85 ms of PCM at 24 kHz, about a second of Opus."""
MAX_CONCEALED_US = 1_000_000
"""A gap that claims to be longer is not filled: what follows moves up, and its PTS with it."""


@dataclass(slots=True)
class Decoded:
    """Result of one call of `decode`."""

    freed_bytes: int = 0
    seqs: list[int] = field(default_factory=list)
    dropped_payloads: int = 0
    dropped_bytes: int = 0
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Ready:
    """Samples from `pts_frame` on, decoded from `bytes` encoded ones; `payloads` is the number of payloads that end with them."""

    pts_frame: int
    pcm: Pcm
    payloads: int
    bytes: int

    def split(self, frames: int) -> tuple[Ready, Ready]:
        """The first `frames` samples with their share of the bytes, and the rest."""
        share = self.bytes * frames // len(self.pcm)
        rest = Ready(self.pts_frame + frames, self.pcm[frames:], self.payloads, self.bytes - share)
        return Ready(self.pts_frame, self.pcm[:frames], 0, share), rest


class AudioStream:
    """The audio stream of one conversation. Not thread-safe."""

    def __init__(self, decoder: AudioDecoder, format: AudioFormat, *, max_bytes: int) -> None:
        self._decoder = decoder
        self._jitter = JitterBuffer(max_bytes=max_bytes)
        self._slice_bytes = SLICE_BYTES if format.codec.traits.packet_duration_us is None else 1 << 30
        self._current: Payload | None = None
        self._offset = 0
        self._ready: deque[Ready] = deque()
        self.ready_frames = 0
        """Decoded frames that can be taken."""
        self._concealed: Pcm = np.zeros(0, np.int16)
        self._next_pts_frame = 0
        self._expected_pts_us: int | None = 0
        self._last_seq: int | None = None
        self._gap_since_us: int | None = None
        self.complete = False
        self.failed = False

    @property
    def rate_hz(self) -> int:
        """Frames per second of the decoded sound."""
        return self._decoder.rate_hz

    @property
    def cursor(self) -> int:
        """All payloads up to this sequence number are held, or were."""
        return self._jitter.cursor

    @property
    def held_bytes(self) -> int:
        """Encoded bytes that are not decoded yet."""
        return self._jitter.held_bytes + (len(self._current.data) - self._offset if self._current is not None else 0)

    @property
    def has_more(self) -> bool:
        """Whether something can be decoded now."""
        return self._current is not None or self._jitter.peek() is not None

    @property
    def next_pts_us(self) -> int:
        """PTS of the samples that are taken next."""
        frame = self._ready[0].pts_frame if self._ready else self._next_pts_frame
        return round(frame * 1e6 / self._decoder.rate_hz)

    @property
    def drained(self) -> bool:
        """Whether all was decoded and taken."""
        return self.complete and not self._ready

    @property
    def length_us(self) -> int:
        """Sound decoded so far."""
        return round(self._next_pts_frame * 1e6 / self._decoder.rate_hz)

    def push(self, payload: Payload) -> PushResult:
        """Accept or refuse a whole payload."""
        return self._jitter.push(payload)

    def end(self, last_seq: int) -> None:
        """Note that no payload follows `last_seq`; 0 if only the order of arrival shows the end."""
        self._last_seq = last_seq

    def decode(self, frames: int, now_us: int, *, can_wait: bool = True) -> Decoded:
        """Decode until `frames` more frames are ready, or all available data is decoded."""
        done = Decoded()
        goal = self.ready_frames + frames
        while not self.complete and self.ready_frames < goal:
            if self._current is not None or self._next_payload():
                self._decode_slice(done)
            elif self._gives_up(now_us, can_wait):
                self._give_up_gap(done)
            else:
                break
        if not self.complete and self._current is None and self._at_end():
            self._finish(done)
        return done

    def take(self, frames: int) -> list[Ready]:
        """At most `frames` ready frames, in order."""
        taken: list[Ready] = []
        while frames > 0 and self._ready:
            head = self._ready.popleft()
            if len(head.pcm) > frames:
                head, rest = head.split(frames)
                self._ready.appendleft(rest)
            taken.append(head)
            frames -= len(head.pcm)
            self.ready_frames -= len(head.pcm)
        return taken

    def close(self) -> None:
        """Close the stream: nothing more will be played. Read `held_bytes` before."""
        self._jitter.close()
        self._ready.clear()
        self._current, self.ready_frames = None, 0

    def _next_payload(self) -> bool:
        self._current, self._offset = self._jitter.take(), 0
        if self._current is None:
            return False
        self._gap_since_us = None
        return True

    def _decode_slice(self, done: Decoded) -> None:
        payload = self._current
        assert payload is not None
        data = payload.data[self._offset : self._offset + self._slice_bytes]
        last = self._offset + len(data) >= len(payload.data)
        try:
            self._put(self._decoder.decode(data), payloads=int(last), count=len(data))
        except SoundError as error:
            self._fail(payload, error, done)
            last, data = True, payload.data[self._offset :]
        self._tell_irregularities(done)
        done.freed_bytes += len(data)
        self._offset += len(data)
        if last:
            done.seqs.append(payload.seq)
            self._expected_pts_us = _end_of(payload)
            self._current = None

    def _tell_irregularities(self, done: Decoded) -> None:
        for text in self._decoder.irregularities():
            done.faults.append(Fault(Reason.AUDIO_IRREGULAR, text, "media.payloads.data"))

    def _fail(self, payload: Payload, error: SoundError, done: Decoded) -> None:
        done.dropped_payloads += 1
        done.dropped_bytes += len(payload.data)
        self._conceal(payload.duration_us)
        if not self.failed:
            done.faults.append(Fault(Reason.AUDIO_UNDECODABLE, f"audio payload {payload.seq}: {error}", "media.payloads.data"))
        self.failed = True

    def _gives_up(self, now_us: int, can_wait: bool) -> bool:
        missing_tail = self._last_seq is not None and self._jitter.next_seq <= self._last_seq
        if not (self._jitter.has_gap or missing_tail):
            return False
        if self._gap_since_us is None:
            self._gap_since_us = now_us
        return (not can_wait and self._jitter.has_gap) or now_us - self._gap_since_us >= GAP_WAIT_US

    def _give_up_gap(self, done: Decoded) -> None:
        self._gap_since_us = None
        first = self._jitter.next_seq
        if not self._jitter.has_gap:
            assert self._last_seq is not None
            text = f"audio ends at payload {first - 1}, but {self._last_seq} was announced as the last"
            self._last_seq = first - 1
        else:
            count = self._jitter.skip_gap()
            text = f"{count} audio payloads from {first} on did not arrive; the following ones are played"
            self._conceal_to(self._jitter.peek())
        done.faults.append(Fault(Reason.SEQUENCE_GAP, text, "media.payloads.seq"))

    def _conceal_to(self, payload: Payload | None) -> None:
        if payload is not None and payload.pts_us is not None and self._expected_pts_us is not None:
            missing_us = payload.pts_us - self._expected_pts_us
            if missing_us > MAX_CONCEALED_US:
                self._put_concealed()
                self._next_pts_frame += round(missing_us * self._decoder.rate_hz / 1e6)
            else:
                self._conceal(missing_us)

    def _conceal(self, duration_us: int) -> None:
        frames = round(min(duration_us, MAX_CONCEALED_US) * self._decoder.rate_hz / 1e6)
        if frames > 0:
            self._concealed = np.concatenate((self._concealed, self._decoder.conceal(frames)))

    def _at_end(self) -> bool:
        return self._last_seq is not None and self._jitter.next_seq > self._last_seq and not self._jitter.held_bytes

    def _finish(self, done: Decoded) -> None:
        self.complete = True
        for _ in range(2):
            try:
                self._put(self._decoder.finish(), payloads=0, count=0)
                break
            except SoundError as error:
                if not self.failed:
                    done.faults.append(Fault(Reason.AUDIO_UNDECODABLE, f"the end of the audio: {error}", "media.payloads.data"))
                self.failed = True
        self._tell_irregularities(done)
        self._put_concealed()

    def _put(self, pcm: Pcm, *, payloads: int, count: int) -> None:
        if not len(pcm):
            return
        if len(self._concealed):
            self._concealed = into(self._concealed, pcm, self._decoder.rate_hz)
        self._put_concealed()
        self._append(np.asarray(pcm, np.int16), payloads, count)

    def _put_concealed(self) -> None:
        if len(self._concealed):
            concealed, self._concealed = self._concealed, np.zeros(0, np.int16)
            self._append(concealed, 0, 0)

    def _append(self, pcm: Pcm, payloads: int, count: int) -> None:
        self._ready.append(Ready(self._next_pts_frame, pcm, payloads, count))
        self.ready_frames += len(pcm)
        self._next_pts_frame += len(pcm)


def _end_of(payload: Payload) -> int | None:
    if payload.pts_us is None or payload.duration_us <= 0:
        return None
    return payload.pts_us + payload.duration_us
