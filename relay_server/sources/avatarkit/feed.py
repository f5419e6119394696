"""The sound of one conversation for the Motion Server, and how much of it motion covers.

Rules:

1. Sound is sent as fast as it arrives, never paced. Sound that motion does not cover yet is kept, up to `MAX_UNCOVERED_BYTES`.
2. `rewind` starts again, on another session, after the last received keyframe: the motion continues where it stopped. That needs PCM, for
   which a keyframe's sample is known; encoded sound cannot be cut there.
3. Motion is complete at its end mark, or if it covers the sound to within a keyframe and no mark arrived for `END_GRACE_US`.
4. Motion is never ahead of the sound by more than `MAX_SURPLUS_US`.
5. Motion is overdue if none arrived for `STALL_US` while it was waited for: after the last sound, or while the sent sound is `MAX_AHEAD_US`
   ahead of it (the server infers in windows of up to four seconds).
"""

from __future__ import annotations

from dataclasses import dataclass

from avatar_relay.limits import AVATARKIT_KEYFRAMES_PER_SECOND
from avatar_relay.media import AudioFormat, Codec

MAX_UNCOVERED_BYTES = 4 << 20
"""43 s of PCM at 48 kHz."""
SEND_BYTES = 32 << 10
"""Largest piece in one message: 1 s at 16 kHz."""
MAX_SURPLUS_US = 2_000_000
LEAST_OPUS_BYTES_PER_S = 500
"""Opus speech has 6 kbit/s or more; silence may have less."""
MAX_DISAGREEMENT = 2.0
"""How many keyframes complete motion may differ from the sound: the server rounds down."""
END_GRACE_US = 1_000_000
STALL_US = 5_000_000
MAX_AHEAD_US = 6_000_000
_SAMPLE_BYTES = 2
_KEYFRAME_US = round(1_000_000 / AVATARKIT_KEYFRAMES_PER_SECOND)


@dataclass(frozen=True, slots=True)
class Sending:
    """The next piece for the SDK. With `end` it is the last of the request, and may be empty."""

    data: bytes
    end: bool


class Feed:
    """Sends sound, and counts keyframes. Pure; positions in bytes are relative to the conversation's first byte."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._pcm_rate_hz = audio_format.sample_rate_hz if audio_format.codec is Codec.PCM_S16LE else 0
        self._kept = bytearray()
        self._kept_from = 0
        self._sent_to = 0
        self._ended = False
        self._end_sent = False
        self._end_seen = False
        self._keyframes = 0
        self._progress_us = 0

    @property
    def has_room(self) -> bool:
        """Whether more sound may be pushed."""
        return len(self._kept) < MAX_UNCOVERED_BYTES

    @property
    def keyframes(self) -> int:
        """Keyframes received so far, over all sessions."""
        return self._keyframes

    @property
    def sound_us(self) -> int:
        """Length of the sound so far; 0 if it is unknown because of the encoding."""
        return self._us(self._kept_from + len(self._kept))

    def is_plausible(self, keyframes: int) -> bool:
        """Whether this many more keyframes are plausible (rule 4): excess motion would fill all buffers, and block sound."""
        pushed = self._kept_from + len(self._kept)
        longest_us = self.sound_us if self._pcm_rate_hz else pushed * 1_000_000 // LEAST_OPUS_BYTES_PER_S
        return (self._keyframes + keyframes) * _KEYFRAME_US <= longest_us + MAX_SURPLUS_US

    def push(self, data: bytes) -> None:
        """Append sound."""
        assert not self._ended
        self._kept += data

    def finish(self) -> None:
        """Mark the end of the sound."""
        self._ended = True

    def take(self, now_us: int) -> Sending | None:
        """The next piece to send; None if nothing waits. A returned piece counts as sent."""
        if self._end_sent:
            return None
        start = self._sent_to - self._kept_from
        data = bytes(self._kept[start : start + SEND_BYTES])
        end = self._ended and start + len(data) == len(self._kept)
        if not data and not end:
            return None
        if not self._is_waiting:
            self._progress_us = now_us
        self._sent_to += len(data)
        self._end_sent = end
        if not self._pcm_rate_hz:
            self._drop(self._sent_to)
        return Sending(data, end)

    def on_motion(self, keyframes: int, end: bool, now_us: int) -> None:
        """Note received motion; `end`: with the end mark."""
        self._keyframes += keyframes
        self._end_seen = self._end_seen or end
        self._progress_us = now_us
        if self._pcm_rate_hz:
            self._drop(min(self._byte_of(self._keyframes), self._sent_to))

    def rewind(self) -> bool:
        """Start a new request after the received motion; returns False if that is impossible."""
        self._end_seen = self._end_sent = False
        if not self._pcm_rate_hz:
            return self._sent_to == 0
        self._sent_to = self._kept_from
        return True

    def is_complete(self, now_us: int) -> bool:
        """Whether all motion has arrived (rule 3)."""
        if not self._end_sent:
            return False
        return self._end_seen or (self._covers_all and now_us >= self._progress_us + END_GRACE_US)

    @property
    def is_covered(self) -> bool:
        """Whether no sound is left without motion, so that another session is not needed."""
        return self._ended and self._covers_all

    @property
    def disagrees(self) -> bool:
        """Whether complete motion is longer or shorter than the sound: a part was lost, or the rates differ."""
        return self._is_off_with(self._keyframes)

    def ends_wrong(self, keyframes: int) -> bool:
        """Whether motion that ends after this many more keyframes would disagree with the sound."""
        return self._end_sent and self._is_off_with(self._keyframes + keyframes)

    def deadline_us(self) -> int | None:
        """When `is_complete` or `is_overdue` may change by time alone; None if nothing is waited for."""
        if self._end_sent and self._covers_all:
            return self._progress_us + END_GRACE_US
        return self._progress_us + STALL_US if self._is_waiting else None

    def is_overdue(self, now_us: int) -> bool:
        """Whether motion was waited for too long (rule 5)."""
        return self._is_waiting and not self._end_seen and not self._covers_all and now_us >= self._progress_us + STALL_US

    @property
    def _is_waiting(self) -> bool:
        ahead_us = self._us(self._sent_to) - self._keyframes * _KEYFRAME_US
        return self._end_sent or ahead_us >= MAX_AHEAD_US

    @property
    def _covers_all(self) -> bool:
        return bool(self._pcm_rate_hz) and (self._keyframes + 1) * _KEYFRAME_US >= self.sound_us

    def _is_off_with(self, keyframes: int) -> bool:
        return bool(self._pcm_rate_hz) and abs(self.sound_us / _KEYFRAME_US - keyframes) > MAX_DISAGREEMENT

    def _us(self, position: int) -> int:
        return position // _SAMPLE_BYTES * 1_000_000 // self._pcm_rate_hz if self._pcm_rate_hz else 0

    def _byte_of(self, keyframe: int) -> int:
        return round(keyframe * self._pcm_rate_hz / AVATARKIT_KEYFRAMES_PER_SECOND) * _SAMPLE_BYTES

    def _drop(self, position: int) -> None:
        del self._kept[: max(position - self._kept_from, 0)]
        self._kept_from = max(position, self._kept_from)
