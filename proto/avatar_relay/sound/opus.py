"""Opus packets (RFC 6716) decoded by libopus, with concealment of lost ones."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar_relay.errors import SoundError
from avatar_relay.limits import OPUS_RATE_HZ

Samples = NDArray[np.float32]
"""Mono at 48 kHz; full scale is 1, and may be exceeded."""

MAX_PACKET_FRAMES = OPUS_RATE_HZ * 120 // 1000
"""A packet holds at most 120 ms (RFC 6716, 3.2.5)."""
MAX_PACKET_BYTES = 61_440
"""Bound of a packet's size: 48 Opus frames of 1,275 bytes and their lengths."""

_CONCEALMENT_STEP_FRAMES = OPUS_RATE_HZ // 400
"""libopus conceals in steps of 2.5 ms."""
_CONCEALMENT_CALL_FRAMES = OPUS_RATE_HZ // 50
_CONCEALMENT_FADE_BEGINS = OPUS_RATE_HZ * 40 // 1000
_CONCEALMENT_FADE_ENDS = OPUS_RATE_HZ * 60 // 1000


def packet_frames(packet: bytes) -> int:
    """Samples at 48 kHz in an Opus packet, from its first two bytes (RFC 6716, 3.1 and 3.2).

    Raises `SoundError` if they are invalid.
    """
    if not packet:
        raise SoundError("empty Opus packet")
    configuration, code = packet[0] >> 3, packet[0] & 3
    if code == 3 and len(packet) < 2:
        raise SoundError("Opus packet of one byte that announces a frame count")
    count = (1, 2, 2, packet[1] & 0x3F if code == 3 else 0)[code]
    frames = count * _frames_of_one(configuration)
    if not 0 < frames <= MAX_PACKET_FRAMES:
        raise SoundError(f"Opus packet of {count} frames, {frames * 1000 / OPUS_RATE_HZ:g} ms; 2.5 to 120 ms are possible")
    return frames


def _frames_of_one(configuration: int) -> int:
    """Length of one Opus frame at 48 kHz, by the table of RFC 6716, 3.1: SILK, hybrid, CELT."""
    if configuration < 12:
        return (480, 960, 1920, 2880)[configuration % 4]
    if configuration < 16:
        return (480, 960)[configuration % 2]
    return (120, 240, 480, 960)[configuration % 4]


class OpusStream:
    """One decoder state of libopus at 48 kHz with mono output. Raises `SoundError` if libopus is missing.

    Without `mapping` a packet is one Opus stream, mono or stereo, and libopus mixes it down. With it, `gains` has the gain of each of its
    channels, and packets hold `streams` streams, the first `coupled` of them stereo (RFC 7845, 5.1.1).

    Samples stay floating until the caller has trimmed them, because soft clipping depends on all samples that it is passed.
    """

    def __init__(self, *, mapping: Sequence[int] = (), streams: int = 1, coupled: int = 0, gains: Sequence[float] = (1.0,)) -> None:
        self._opus = _libopus()
        try:
            if mapping:
                self._decoder: Any = self._opus.MultiStreamDecoder(OPUS_RATE_HZ, len(mapping), streams, coupled, mapping)
            else:
                self._decoder = self._opus.Decoder(OPUS_RATE_HZ, 1)
        except self._opus.OpusError as error:
            raise SoundError(f"libopus takes no {len(mapping)} channels in {streams} streams: {error}") from error
        self._gains = np.array(gains, np.float32)
        self._soft_clip = self._opus.api.libopus.opus_pcm_soft_clip
        self._soft_clip_memory = ctypes.c_float(0.0)
        self._concealed_frames = 0

    def decode(self, packet: bytes) -> Samples:
        """The samples of one packet. Raises `SoundError`; the next packet is decoded as after a loss."""
        frames = packet_frames(packet)
        if len(packet) > MAX_PACKET_BYTES:
            raise SoundError(f"Opus packet of {len(packet)} bytes; the largest has {MAX_PACKET_BYTES}")
        try:
            samples = self._decode_float(packet, frames)
        except self._opus.OpusError as error:
            raise SoundError(f"damaged Opus packet of {len(packet)} bytes: {error}") from error
        self._concealed_frames = 0
        return samples

    def conceal(self, frames: int) -> Samples:
        """`frames` samples in place of missing ones: libopus's concealment, silent from 60 ms after the last packet."""
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

    def to_pcm(self, samples: Samples) -> NDArray[np.int16]:
        """Convert to 16 bits, soft-clipped by libopus beyond full scale, like its own 16-bit output."""
        if not len(samples):
            return np.zeros(0, np.int16)
        clipped = np.array(samples, np.float32)
        self._soft_clip(clipped.ctypes.data_as(ctypes.c_void_p), len(clipped), 1, ctypes.byref(self._soft_clip_memory))
        pcm: NDArray[np.int16] = np.clip(np.rint(clipped * 32768.0), -32768, 32767).astype(np.int16)
        return pcm

    def _decode_float(self, packet: bytes, frames: int) -> Samples:
        samples = np.frombuffer(self._decoder.decode_float(packet, frames), np.float32)
        mono: Samples = samples if self._gains.size == 1 else samples.reshape(-1, self._gains.size) @ self._gains
        return mono * self._gains[0] if self._gains.size == 1 and self._gains[0] != 1.0 else mono


def _libopus() -> Any:
    """opuslib-next, which finds libopus when it is imported."""
    try:
        return importlib.import_module("opuslib_next")
    except Exception as error:  # it raises a bare Exception if the library is missing
        raise SoundError(f"Opus cannot be decoded here, install libopus (Debian: libopus0): {error}") from error
