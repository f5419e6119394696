"""Signed 16-bit little-endian mono PCM, cut anywhere: a sample may begin in one payload and end in the next."""

from __future__ import annotations

import numpy as np

from avatar_relay.media import AudioFormat
from avatar_relay.sound.border import SampleBorder
from avatar_relay.sound.irregularities import Irregularities
from edge_client.audio.concealment import Concealment
from edge_client.audio.decoders.pcm_doubts import DOUBT_BYTES, doubt
from edge_client.audio.sink import Pcm

_WIRE = np.dtype("<i2")


class PcmDecoder:
    """Returns the samples unchanged. A gap is filled with the last sound, faded out within 60 ms.

    Data that begins like another format is refused; a WAV header of this format is stripped (`avatar_relay.sound.border`).
    """

    def __init__(self, format: AudioFormat) -> None:
        self.rate_hz = format.sample_rate_hz
        """Sample rate of input and output."""
        self._border = SampleBorder(format)
        self._half_sample = b""
        self._first: bytes | None = b""
        """The first samples, until there are enough to be judged."""
        self._concealment = Concealment(self.rate_hz)
        self._irregularities = Irregularities()

    def decode(self, data: bytes) -> Pcm:
        """All complete samples so far; an odd byte waits for the next payload. Raises `SoundError` if the data is refused."""
        return self._samples(self._border.take(data))

    def _samples(self, data: bytes) -> Pcm:
        if self._half_sample:
            data = self._half_sample + data
        whole_bytes = len(data) & ~1
        self._half_sample = data[whole_bytes:]
        if self._first is not None:
            self._look(self._first + data[:whole_bytes])
        samples = np.frombuffer(data, _WIRE, whole_bytes // 2).astype(np.int16)
        self._concealment.heard(samples)
        return samples

    def _look(self, first: bytes, *, ended: bool = False) -> None:
        """Report what the first samples look like, once there are enough of them."""
        if self._border.has_header:
            self._first = None
        elif len(first) < DOUBT_BYTES and not ended:
            self._first = first
        else:
            self._first = None
            if text := doubt(first[:DOUBT_BYTES]):
                self._irregularities.tell("doubt", text)

    def conceal(self, frames: int) -> Pcm:
        """The last sound continued for up to 60 ms, then silence. Half a sample before the gap is dropped with it."""
        self._half_sample = b""
        self._border.lose()
        return self._concealment.fill(frames)

    def finish(self) -> Pcm:
        """Data that could have been the beginning of a container, but was not."""
        samples = self._samples(self._border.finish())
        if self._first is not None:
            self._look(self._first, ended=True)
        if self._half_sample:
            self._half_sample = b""
            self._irregularities.tell("half", "PCM ends with half a sample (an odd number of bytes), which is ignored")
        return samples

    def irregularities(self) -> list[str]:
        """Half a sample at the end, and samples that look like those of another format."""
        return self._irregularities.take()


def make(format: AudioFormat) -> PcmDecoder:
    """A decoder for one conversation."""
    return PcmDecoder(format)
