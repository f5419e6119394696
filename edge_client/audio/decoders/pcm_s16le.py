"""Signed 16-bit little-endian mono PCM, cut anywhere: a sample may begin in one payload and end in the next."""

from __future__ import annotations

import numpy as np

from avatar_relay.media import AudioFormat
from edge_client.audio.concealment import Concealment
from edge_client.audio.sink import Pcm
from edge_client.errors import UndecodableError


class PcmDecoder:
    """Gives the samples back bit for bit. A gap is filled with what was heard last, faded out within 60 ms."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        """Rate of the samples, the same in and out."""
        self._half_sample = b""
        self._concealment = Concealment(rate_hz)

    def decode(self, data: bytes) -> Pcm:
        """All whole samples so far; an odd byte waits for the next payload. Never raises: any bytes are samples."""
        data = self._half_sample + data
        whole_bytes = len(data) & ~1
        self._half_sample = data[whole_bytes:]
        samples = np.frombuffer(data, dtype="<i2", count=whole_bytes // 2).astype(np.int16)
        self._concealment.heard(samples)
        return samples

    def conceal(self, frames: int) -> Pcm:
        """The last sounds go on for up to 60 ms, then silence. Half a sample before the gap is dropped with it."""
        self._half_sample = b""
        return self._concealment.fill(frames)

    def finish(self) -> Pcm:
        """Nothing is held back. Raises `UndecodableError` (once) where half a sample is left over."""
        if self._half_sample:
            self._half_sample = b""
            raise UndecodableError("PCM is cut short: it ends with half a sample (an odd number of bytes)")
        return np.zeros(0, np.int16)


def make(format: AudioFormat) -> PcmDecoder:
    """A decoder for one conversation."""
    return PcmDecoder(format.sample_rate_hz)
