"""Opus packets (RFC 6716) through libopus, with concealment of what is missing."""

from __future__ import annotations

import ctypes
import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar_relay.limits import OPUS_RATE_HZ
from avatar_relay.media import AudioFormat
from edge_client.audio.sink import Pcm
from edge_client.errors import UndecodableError

Samples = NDArray[np.float32]
"""Mono at 48 kHz; full scale is 1, and may be exceeded."""

MAX_PACKET_FRAMES = OPUS_RATE_HZ * 120 // 1000
"""A packet holds at most 120 ms (RFC 6716, 3.2.5)."""
MAX_PACKET_BYTES = 61_440
"""48 Opus frames of 1,275 bytes and their lengths: nothing larger is a packet."""

_CONCEALMENT_STEP_FRAMES = OPUS_RATE_HZ // 400
"""libopus conceals in steps of 2.5 ms."""
_CONCEALMENT_CALL_FRAMES = OPUS_RATE_HZ // 50
_CONCEALMENT_FADE_BEGINS = OPUS_RATE_HZ * 40 // 1000
_CONCEALMENT_FADE_ENDS = OPUS_RATE_HZ * 60 // 1000


def packet_frames(packet: bytes) -> int:
    """Samples at 48 kHz in an Opus packet, from its first two bytes (RFC 6716, 3.1 and 3.2).

    Raises `UndecodableError` where they can not be.
    """
    if not packet:
        raise UndecodableError("empty Opus packet")
    if len(packet) > MAX_PACKET_BYTES:
        raise UndecodableError(f"Opus packet of {len(packet)} bytes; the largest has {MAX_PACKET_BYTES}")
    configuration, code = packet[0] >> 3, packet[0] & 3
    if code == 3 and len(packet) < 2:
        raise UndecodableError("Opus packet of one byte that announces a frame count")
    count = (1, 2, 2, packet[1] & 0x3F if code == 3 else 0)[code]
    frames = count * _frames_of_one(configuration)
    if not 0 < frames <= MAX_PACKET_FRAMES:
        raise UndecodableError(f"Opus packet of {count} frames, {frames * 1000 / OPUS_RATE_HZ:g} ms; 2.5 to 120 ms are possible")
    return frames


def _frames_of_one(configuration: int) -> int:
    """Length of one Opus frame at 48 kHz, by the table of RFC 6716, 3.1: SILK, hybrid, CELT."""
    if configuration < 12:
        return (480, 960, 1920, 2880)[configuration % 4]
    if configuration < 16:
        return (480, 960)[configuration % 2]
    return (120, 240, 480, 960)[configuration % 4]


class OpusStream:
    """One decoder state of libopus at 48 kHz, mono; libopus mixes stereo packets down.

    `gain_q8` is the output gain of an OpusHead, in 1/256 dB. Samples stay floating until the caller has cut them to
    what is heard, for clipping looks at all that it is given.
    """

    def __init__(self, *, gain_q8: int = 0) -> None:
        self._opus = _libopus()
        self._decoder: Any = self._opus.Decoder(OPUS_RATE_HZ, 1)
        self._soft_clip = self._opus.api.libopus.opus_pcm_soft_clip
        self._soft_clip_memory = ctypes.c_float(0.0)
        self._concealed_frames = 0
        if gain_q8:
            self._decoder.gain = gain_q8

    def decode(self, packet: bytes) -> Samples:
        """The samples of one packet. Raises `UndecodableError`; the next packet is decoded as if this one was lost."""
        frames = packet_frames(packet)
        try:
            samples = self._decode_float(packet, frames)
        except self._opus.OpusError as error:
            raise UndecodableError(f"damaged Opus packet of {len(packet)} bytes: {error}") from error
        self._concealed_frames = 0
        return samples

    def conceal(self, frames: int) -> Samples:
        """`frames` samples in place of what is missing: libopus's concealment, silent from 60 ms after the last packet."""
        audible = min(frames, max(0, _CONCEALMENT_FADE_ENDS - self._concealed_frames))
        concealed = np.zeros(frames, np.float32)
        for start in range(0, audible, _CONCEALMENT_CALL_FRAMES):
            step = min(_CONCEALMENT_CALL_FRAMES, audible - start)
            call_frames = -(-step // _CONCEALMENT_STEP_FRAMES) * _CONCEALMENT_STEP_FRAMES
            concealed[start : start + step] = self._decode_float(b"", call_frames)[:step]
        index = self._concealed_frames + np.arange(audible)
        concealed[:audible] *= np.interp(index, (_CONCEALMENT_FADE_BEGINS, _CONCEALMENT_FADE_ENDS), (1.0, 0.0))
        self._concealed_frames += frames
        return concealed

    def to_pcm(self, samples: Samples) -> Pcm:
        """As 16 bits, clipped softly by libopus where full scale is exceeded: what its own 16-bit output does."""
        if not len(samples):
            return np.zeros(0, np.int16)
        clipped = np.array(samples, np.float32)
        self._soft_clip(clipped.ctypes.data_as(ctypes.c_void_p), len(clipped), 1, ctypes.byref(self._soft_clip_memory))
        pcm: Pcm = np.clip(np.rint(clipped * 32768.0), -32768, 32767).astype(np.int16)
        return pcm

    def _decode_float(self, packet: bytes, frames: int) -> Samples:
        return np.frombuffer(self._decoder.decode_float(packet, frames), np.float32)


def _libopus() -> Any:
    """opuslib-next, which finds libopus when it is imported."""
    try:
        return importlib.import_module("opuslib_next")
    except Exception as error:  # it raises a bare Exception where the library is missing
        raise UndecodableError(f"this device can not decode Opus, install libopus (Debian: libopus0): {error}") from error


class OpusPacketDecoder:
    """Each payload is one Opus packet. Nothing is skipped at the start: bare packets carry no pre-skip."""

    def __init__(self) -> None:
        self._stream = OpusStream()
        self._packets = 0

    @property
    def rate_hz(self) -> int:
        """48 kHz, always."""
        return OPUS_RATE_HZ

    def decode(self, data: bytes) -> Pcm:
        """The samples of this packet. Raises `UndecodableError`."""
        self._packets += 1
        try:
            return self._stream.to_pcm(self._stream.decode(data))
        except UndecodableError as error:
            raise UndecodableError(f"payload {self._packets} since the start: {error}") from error

    def conceal(self, frames: int) -> Pcm:
        """libopus's concealment for up to 60 ms, then silence."""
        return self._stream.to_pcm(self._stream.conceal(frames))

    def finish(self) -> Pcm:
        """Nothing is held back."""
        return np.zeros(0, np.int16)


def make(format: AudioFormat) -> OpusPacketDecoder:
    """A decoder for one conversation."""
    return OpusPacketDecoder()
