"""A decoder whose samples come out at another rate than its stream has."""

from __future__ import annotations

import numpy as np

from edge_client.audio.concealment import Concealment, into
from edge_client.audio.decoder import AudioDecoder
from edge_client.audio.resampler import Resampler
from edge_client.audio.sink import Pcm

_RUN_SHARE = 50
"""What a resampler is run in and out with: a fiftieth of a second, which is a whole number of frames at all rates."""


class ResamplingDecoder:
    """Wraps a decoder and resamples what it gives."""

    def __init__(self, decoder: AudioDecoder, output_rate_hz: int) -> None:
        self._decoder = decoder
        self.rate_hz = output_rate_hz
        """Rate of the samples it gives."""
        self._resampler = Resampler(decoder.rate_hz, output_rate_hz)
        self._carried: Pcm = np.zeros(0, np.int16)
        self._after_gap = False

    def decode(self, data: bytes) -> Pcm:
        """What is complete; the resampler holds back up to 40 ms. Raises `SoundError`."""
        samples = self._decoder.decode(data)
        if self._after_gap and len(samples):
            self._after_gap = False
            self._resampler.run_in(self._continued(samples[::-1])[::-1])
        return self._after_carried(self._resampler.process(samples))

    def conceal(self, frames: int) -> Pcm:
        """Exactly `frames` samples. First come those that the resampler held back, so that the order stays;
        as many of the concealment then come with the next samples, and lead into them."""
        wanted = len(self._carried) + self._resampler.owed_frames + frames
        input_frames = -(-frames * self._decoder.rate_hz // self.rate_hz) + 1
        missing = self._decoder.conceal(input_frames)
        concealed = self._resampler.process(np.concatenate([missing, self._continued(missing)]))
        available = np.concatenate([self._carried, concealed, self._resampler.flush()])[:wanted]
        self._carried = available[frames:]
        self._after_gap = True
        return available[:frames]

    def finish(self) -> Pcm:
        """What was held back. Raises `SoundError` as the decoder does; called again, it then gives
        what could be saved."""
        rest = self._resampler.process(self._decoder.finish())
        return self._after_carried(np.concatenate([rest, self._resampler.flush()]))

    def irregularities(self) -> list[str]:
        """Those of the decoder."""
        return self._decoder.irregularities()

    def _continued(self, samples: Pcm) -> Pcm:
        """What could follow, for the resampler to run out with: an edge would ring."""
        concealment = Concealment(self._decoder.rate_hz)
        concealment.heard(samples)
        return concealment.fill(self._decoder.rate_hz // _RUN_SHARE)

    def _after_carried(self, samples: Pcm) -> Pcm:
        if not len(self._carried):
            return samples
        joined = np.concatenate([into(self._carried, samples, self.rate_hz), samples])
        self._carried = np.zeros(0, np.int16)
        return joined
