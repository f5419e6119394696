"""A decoder whose output has another sample rate than its stream."""

from __future__ import annotations

import numpy as np

from edge_client.audio.concealment import Concealment, into
from edge_client.audio.decoder import AudioDecoder
from edge_client.audio.resampler import Resampler
from edge_client.audio.sink import Pcm

_RUN_SHARE = 50
"""Length of sound that a resampler is primed and flushed with: a fiftieth of a second, a whole number of frames at all rates."""


class ResamplingDecoder:
    """Wraps a decoder and resamples its output."""

    def __init__(self, decoder: AudioDecoder, output_rate_hz: int) -> None:
        self._decoder = decoder
        self.rate_hz = output_rate_hz
        """Sample rate of the output."""
        self._resampler = Resampler(decoder.rate_hz, output_rate_hz)
        self._carried: Pcm = np.zeros(0, np.int16)
        self._after_gap = False

    def decode(self, data: bytes) -> Pcm:
        """The samples that are complete; the resampler holds back up to 40 ms. Raises `SoundError`."""
        samples = self._decoder.decode(data)
        if self._after_gap and len(samples):
            self._after_gap = False
            self._resampler.run_in(self._continued(samples[::-1])[::-1])
        return self._after_carried(self._resampler.process(samples))

    def conceal(self, frames: int) -> Pcm:
        """Exactly `frames` samples for a missing payload.

        They begin with those that the resampler held back, to preserve the order; the displaced part of the concealment precedes the next
        samples, and leads into them.
        """
        wanted = len(self._carried) + self._resampler.owed_frames + frames
        input_frames = -(-frames * self._decoder.rate_hz // self.rate_hz) + 1
        missing = self._decoder.conceal(input_frames)
        concealed = self._resampler.process(np.concatenate([missing, self._continued(missing)]))
        available = np.concatenate([self._carried, concealed, self._resampler.flush()])[:wanted]
        self._carried = available[frames:]
        self._after_gap = True
        return available[:frames]

    def finish(self) -> Pcm:
        """The samples held back. Raises `SoundError` as the decoder does; a second call then returns what can be recovered."""
        rest = self._resampler.process(self._decoder.finish())
        return self._after_carried(np.concatenate([rest, self._resampler.flush()]))

    def irregularities(self) -> list[str]:
        """The irregularities of the decoder."""
        return self._decoder.irregularities()

    def _continued(self, samples: Pcm) -> Pcm:
        """A plausible continuation, to flush the resampler with: an edge would ring."""
        concealment = Concealment(self._decoder.rate_hz)
        concealment.heard(samples)
        return concealment.fill(self._decoder.rate_hz // _RUN_SHARE)

    def _after_carried(self, samples: Pcm) -> Pcm:
        if not len(self._carried):
            return samples
        joined = np.concatenate([into(self._carried, samples, self.rate_hz), samples])
        self._carried = np.zeros(0, np.int16)
        return joined
