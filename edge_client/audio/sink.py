"""The interface of sinks to the player. The sink pulls; the player returns content, never filler.

Frames are counted in *content frames*: each frame that `AudioFeed.pull` returned has an index, from 0, in order. Silence that a sink
inserts for lack of content is not counted. So "what is heard now" is a single index, whatever the sink inserted in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
"""Mono samples at the sink's rate, shape (frames,)."""


class AudioFeed(Protocol):
    """What a sink pulls from. Called from the sink's own thread; quick, and never raises."""

    def pull(self, frames: int) -> Pcm:
        """At most `frames` frames of content that is due, fewer (or none) if there is no more yet."""
        ...


@dataclass(frozen=True, slots=True)
class Anchor:
    """Position of the sink: content frame `frame` is heard at `time_us` (CLOCK_MONOTONIC, µs).

    From there the position advances at `rate_hz` (0 while playout is stopped: paused, underrun, idle), but never beyond `limit_frame`: the
    end of the content that is available and follows without a gap.
    """

    frame: float
    time_us: int
    rate_hz: float
    limit_frame: int
    offset_us: int = 0
    """Additional delay after `time_us` until sound is heard, as measured by a person (`edge-client calibrate`)."""

    def frame_at(self, now_us: int) -> float:
        """The content frame heard at `now_us`."""
        return min(self.frame + (now_us - self.time_us) * 1e-6 * self.rate_hz, float(self.limit_frame))


@dataclass(frozen=True, slots=True)
class SinkCounters:
    """Faults since the sink was opened. Read at any time, from any thread."""

    underruns: int = 0
    """Times that content was expected and missing, or that the device itself ran dry."""
    silence_frames: int = 0
    """Frames of silence inserted while content was expected."""
    restarts: int = 0
    """Times that the device was lost and reopened."""
    last_loss: str = ""
    """Reason of the last loss."""
    last_fault: str = ""
    """Description of the last fault; empty if there was none."""
    starved: int = 0
    """Underruns because content was expected and did not arrive in time."""
    device_dry: int = 0
    """Underruns because the device ran dry, though there was content."""
    lost: str = ""
    """Why there is no device now; empty while it plays."""
    why: str = ""
    """Why no better output is used; empty if none is better."""
    opening: bool = False
    """A device is being opened, and nothing plays meanwhile."""
    unheard: str = ""
    """Why nothing is heard although playout continues; empty while it is heard."""


class AudioSink(Protocol):
    """Plays what it pulls. All methods may be called from any thread; `start` and `close` only once."""

    @property
    def name(self) -> str:
        """What plays and where, in words for people."""
        ...

    @property
    def rate_hz(self) -> int:
        """Frames per second that it pulls."""
        ...

    def start(self, feed: AudioFeed) -> None:
        """Open the device and start to pull. Raises `SinkError` if that is impossible, and waiting does not help."""
        ...

    def close(self) -> None:
        """Stop and release the device. Pulled content is played out first, within 0.5 s."""
        ...

    def anchor(self) -> Anchor | None:
        """The playout position; None until the first frame is on its way and the clock has settled."""
        ...

    def expect(self, expected: bool) -> None:
        """Set whether content is due: only then is silence an underrun. True also signals that there is more to pull now."""
        ...

    def clear(self) -> int:
        """Fade out within 10 ms and discard what was pulled and not yet heard.

        Returns the number of content frames up to the last one that was heard with gain above 0. The index of the next pulled frame still
        counts all frames pulled before.
        """
        ...

    def pause(self) -> None:
        """Fade out and hold everything."""
        ...

    def resume(self) -> None:
        """Continue from the held position."""
        ...

    def set_volume(self, gain: float, *, muted: bool) -> None:
        """Ramp to a linear gain of 0 to 1, or to silence while muted."""
        ...

    def counters(self) -> SinkCounters:
        """Faults so far."""
        ...
