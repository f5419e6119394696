"""Positions on a conversation's media line: cuts audio, counts keyframes, and derives the PTS from both.

Positions are derived from whole counts (samples, keyframes) and never summed from rounded durations, so that they do not drift; a payload's
duration is the distance to the next position, so that payloads join without gaps.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from avatar_relay.errors import SoundError
from avatar_relay.limits import MAX_FRAGMENT_BYTES, MAX_PAYLOAD_BYTES, MAX_PCM_PAYLOAD_US
from avatar_relay.media import AudioFormat, MotionEncoding, MotionFormat
from avatar_relay.publisher.errors import InvalidMediaError
from avatar_relay.reasons import Fault, Reason
from avatar_relay.sound.border import Border, SampleBorder, StreamBorder

ON_GRID_US = 2_000
"""Rows within this distance of the grid of their payload are on it."""
_WHOLE = 1 << 62
"""A step size that no data reaches: a packet is never cut."""


class Slice(NamedTuple):
    """Bytes of one payload with their position; `pts_us` is None if encoded audio does not carry it."""

    data: bytes
    pts_us: int | None
    duration_us: int


class AudioLine(Protocol):
    """Cuts a backend's audio into payloads, after `admit`."""

    border: Border
    """Inspects the bytes first."""
    length_us: int | None
    """Length of all audio so far, as far as it was cut; None if the encoding does not reveal it."""
    carried_bytes: int
    """Bytes kept back as part of an incomplete sample."""
    step_bytes: int
    """Larger data is best handed over in steps of this size."""

    def cut(self, data: bytes) -> list[Slice]:
        """The next payloads. Raises `InvalidMediaError`; then nothing was accepted."""
        ...


class PcmLine:
    """Samples of one size, split anywhere by the caller: whole samples, at most `MAX_PCM_PAYLOAD_US` per payload."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self.border: Border = SampleBorder(audio_format)
        self._rate_hz = audio_format.sample_rate_hz
        self._sample_bytes = audio_format.codec.traits.sample_bytes
        self.step_bytes = self._rate_hz * MAX_PCM_PAYLOAD_US // 1_000_000 * self._sample_bytes
        self._samples = self.carried_bytes = 0
        self.length_us: int | None = 0
        self._carry = b""

    def cut(self, data: bytes) -> list[Slice]:
        """The next payloads; part of a sample is kept for the next call."""
        if self._carry:
            data = self._carry + data
        self.carried_bytes = len(data) % self._sample_bytes
        whole = len(data) - self.carried_bytes
        self._carry = data[whole:]
        slices = []
        for start in range(0, whole, self.step_bytes):
            piece, begin_us = data[start : min(start + self.step_bytes, whole)], self._samples * 1_000_000 // self._rate_hz
            self._samples += len(piece) // self._sample_bytes
            self.length_us = end_us = self._samples * 1_000_000 // self._rate_hz
            slices.append(Slice(piece, begin_us, end_us - begin_us))
        return slices


class StreamLine:
    """A byte stream such as Ogg Opus, split anywhere: it carries its own positions."""

    length_us: int | None = None
    carried_bytes: int = 0
    step_bytes: int = MAX_FRAGMENT_BYTES

    def __init__(self, audio_format: AudioFormat) -> None:
        self.border: Border = StreamBorder(audio_format)

    def cut(self, data: bytes) -> list[Slice]:
        """The unchanged bytes, in pieces that need no fragments."""
        return [Slice(data[start : start + MAX_FRAGMENT_BYTES], None, 0) for start in range(0, len(data), MAX_FRAGMENT_BYTES)]


class PacketLine:
    """Bare packets such as those of Opus, one per call."""

    def __init__(self, audio_format: AudioFormat, packet_duration_us: Callable[[bytes], int]) -> None:
        self.border: Border = StreamBorder(audio_format)
        self._packet_duration_us = packet_duration_us
        self._end_us = self.carried_bytes = 0
        self.length_us: int | None = 0
        self.step_bytes = _WHOLE

    def cut(self, data: bytes) -> list[Slice]:
        """The packet, with the length that its first bytes declare. Raises `InvalidMediaError` if it is not a packet."""
        if not data:
            return []
        if len(data) > MAX_PAYLOAD_BYTES:
            raise too_large(data, "a packet", "audio")
        try:
            piece = Slice(data, self._end_us, self._packet_duration_us(data))
        except ValueError as error:
            raise InvalidMediaError(Fault(Reason.AUDIO_UNDECODABLE, str(error), "audio")) from None
        self.length_us = self._end_us = self._end_us + piece.duration_us
        return [piece]


def audio_line(audio_format: AudioFormat) -> AudioLine:
    """The line for an audio format."""
    traits = audio_format.codec.traits
    if traits.sample_bytes:
        return PcmLine(audio_format)
    return StreamLine(audio_format) if traits.packet_duration_us is None else PacketLine(audio_format, traits.packet_duration_us)


def admit(line: AudioLine, data: bytes) -> bytes:
    """The part of `data` that is to be sent. Raises `InvalidMediaError`; then nothing of it is sent."""
    try:
        return line.border.take(data)
    except SoundError as error:
        raise InvalidMediaError(Fault(Reason.AUDIO_UNDECODABLE, str(error), "data")) from None


class MotionMessage(NamedTuple):
    """Properties of a motion payload: its number of keyframes, and whether its creator marked it as the last one."""

    data: bytes
    keyframes: int
    is_last: bool


class MotionLine:
    """Positions motion: after the previous payload by counting keyframes (motion messages carry no time), or at a given position."""

    def __init__(self, motion_format: MotionFormat) -> None:
        self._format = motion_format
        self._begin_us = 0
        self._keyframes = 0
        self.length_us = 0
        """Position after the last keyframe so far; that of the next payload, unless another one is given."""

    @property
    def keyframe_us(self) -> int:
        """Length of one keyframe, rounded up."""
        return self._pts_us(1) + 1

    def inspect(self, data: bytes) -> MotionMessage:
        """Inspect a payload; assigns no position. Raises `InvalidMediaError` if it is not motion of this format."""
        if len(data) > MAX_PAYLOAD_BYTES:
            raise too_large(data, "a motion payload", "motion")
        if self._format.encoding is MotionEncoding.AVATARKIT_V2:
            return _inspect_avatarkit(data)
        return _inspect_weights(data, len(self._format.blendshape_names))

    def split(self, message: MotionMessage, at_us: Sequence[int]) -> list[tuple[MotionMessage, int | None]]:
        """Split rows of weights with one position each into parts on the format's grid (to `ON_GRID_US`), with the position of each part.

        Raises `InvalidMediaError` for motion that cannot be split.
        """
        if self._format.encoding is not MotionEncoding.BLENDSHAPE_WEIGHTS:
            text = "motion of AvatarKit cannot be cut at its keyframes: give one at_us for the first keyframe"
            raise InvalidMediaError(Fault(Reason.MOTION_FORMAT_UNSUPPORTED, text, "at_us"))
        row_bytes = 4 * len(self._format.blendshape_names)
        starts = [0]
        for row, position_us in enumerate(at_us):
            if abs(at_us[starts[-1]] + self._pts_us(row - starts[-1]) - position_us) > ON_GRID_US:
                starts.append(row)
        return [
            (MotionMessage(message.data[start * row_bytes : end * row_bytes], end - start, is_last=False), at_us[start])
            for start, end in pairwise([*starts, message.keyframes])
        ]

    def place(self, message: MotionMessage, at_us: int | None = None) -> Slice:
        """The payload with its position: after the previous one, or at `at_us`; its bytes are unchanged."""
        pts_us = self.length_us if at_us is None else at_us
        if at_us is not None:
            self._begin_us, self._keyframes = at_us, 0
        self._keyframes += message.keyframes
        self.length_us = self._begin_us + self._pts_us(self._keyframes)
        return Slice(message.data, pts_us, self.length_us - pts_us)

    def _pts_us(self, keyframes: int) -> int:
        return round(keyframes * 1_000_000 / self._format.keyframes_per_second)


def too_large(data: bytes, what: str, field: str) -> InvalidMediaError:
    """The error for data that is larger than a payload may be."""
    text = f"{what} of {len(data)} bytes; at most {MAX_PAYLOAD_BYTES} are carried"
    return InvalidMediaError(Fault(Reason.PAYLOAD_TOO_LARGE, text, field))


def _inspect_avatarkit(data: bytes) -> MotionMessage:
    from avatar_relay import avatarkit  # late: it imports numpy, which a backend with other motion never needs

    try:
        motion = avatarkit.read(data)
    except avatarkit.AvatarKitError as error:
        raise InvalidMediaError(Fault(Reason.MOTION_UNDECODABLE, str(error), "motion")) from error
    return MotionMessage(data, len(motion.keyframes), motion.end)


def _inspect_weights(data: bytes, names: int) -> MotionMessage:
    row_bytes = 4 * names
    rows, rest = divmod(len(data), row_bytes)
    if rest or not rows:
        text = f"{len(data)} bytes are not whole rows of {names} weights ({row_bytes} bytes each)"
        raise InvalidMediaError(Fault(Reason.MOTION_UNDECODABLE, text, "motion"))
    unusable = _first_not_finite(data)
    if unusable is not None:
        text = f"weight {unusable % names} of row {unusable // names} is not a finite number"
        raise InvalidMediaError(Fault(Reason.MOTION_UNDECODABLE, text, "motion"))
    return MotionMessage(data, rows, is_last=False)


def _first_not_finite(data: bytes) -> int | None:
    """Index of the first little-endian float32 that is not finite; None if all are finite.

    The exponent of such a number is all ones (IEEE 754, 3.4), and seven of its eight bits are in the last byte. A finite weight with such a
    last byte exceeds 10³⁸, so that checking every fourth byte is nearly always enough.
    """
    last_bytes = data[3::4]
    if b"\x7f" not in last_bytes and b"\xff" not in last_bytes:
        return None
    return next((at for at, weight in enumerate(struct.unpack(f"<{len(data) // 4}f", data)) if not math.isfinite(weight)), None)
