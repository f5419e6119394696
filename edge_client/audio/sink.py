"""What plays the sound, as the player sees it. The sink pulls; the player answers with content, never with filler.

Frames are counted in *content frames*: each frame that `AudioFeed.pull` gave has an index, from 0, in the order given.
Silence that a sink inserts where nothing was given is not counted. That makes the question "what is heard now" one
question about an index, whatever the sink did in between.
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
        """At most `frames` frames of content that is due, fewer (also none) if there is no more yet."""
        ...


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where the sink is: content frame `frame` is heard at `time_us` (CLOCK_MONOTONIC, µs).

    From there the position runs at `rate_hz` (0 while playout stands: paused, underrun, idle), but never beyond
    `limit_frame`: where the content ends that is at hand and follows without a gap.
    """

    frame: float
    time_us: int
    rate_hz: float
    limit_frame: int
    offset_us: int = 0
    """What leaves this device is heard so much later than `time_us` says; found out by people (`edge-client calibrate`)."""

    def frame_at(self, now_us: int) -> float:
        """The content frame heard at `now_us`."""
        return min(self.frame + (now_us - self.time_us) * 1e-6 * self.rate_hz, float(self.limit_frame))


@dataclass(frozen=True, slots=True)
class SinkCounters:
    """What went wrong since the sink was opened. Read at any time, from any thread."""

    underruns: int = 0
    """Times that content was expected and missing, or that the device itself ran dry."""
    silence_frames: int = 0
    """Frames of silence inserted while content was expected."""
    restarts: int = 0
    """Times that the device was lost and opened again."""
    last_loss: str = ""
    """Why it was lost the last time."""
    last_fault: str = ""
    """The last fault in words, empty if there was none."""
    starved: int = 0
    """Of the underruns: content was expected, and did not come in time."""
    device_dry: int = 0
    """Of the underruns: the device ran dry, though there was content."""
    lost: str = ""
    """Why there is no device now; empty while it plays."""
    why: str = ""
    """Why nothing better plays than what does; empty if nothing is better."""
    opening: bool = False
    """A device is being opened, and nothing plays meanwhile."""
    unheard: str = ""
    """Why nothing is heard although sound goes on; empty while it is heard."""


class AudioSink(Protocol):
    """Plays what it pulls. All methods may be called from any thread but `start` and `close` only once."""

    @property
    def name(self) -> str:
        """For people: what plays and where."""
        ...

    @property
    def rate_hz(self) -> int:
        """Frames per second that it pulls."""
        ...

    def start(self, feed: AudioFeed) -> None:
        """Open the device and begin to pull. Raises `SinkError` if that cannot be, and waiting does not help."""
        ...

    def close(self) -> None:
        """Stop and let go of the device. What was pulled is played out first, within 0.5 s."""
        ...

    def anchor(self) -> Anchor | None:
        """Where playout is; None until the first frame is on its way and the clock has settled."""
        ...

    def expect(self, expected: bool) -> None:
        """Say whether content is due: only then is silence an underrun. True also says that there is more to pull now."""
        ...

    def clear(self) -> int:
        """Fade out within 10 ms and throw away what was pulled and not yet heard.

        Returns the number of content frames after the last one that was heard with gain above 0. The next frame that
        is pulled keeps counting from all that were pulled before.
        """
        ...

    def pause(self) -> None:
        """Fade out, hold everything."""
        ...

    def resume(self) -> None:
        """Go on where it was held."""
        ...

    def set_volume(self, gain: float, *, muted: bool) -> None:
        """Ramp to a linear gain of 0 to 1, or to silence while muted."""
        ...

    def counters(self) -> SinkCounters:
        """What went wrong so far."""
        ...
