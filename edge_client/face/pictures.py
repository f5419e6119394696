"""Pictures that were shown, and those that look at them."""

from __future__ import annotations

from dataclasses import dataclass

from edge_client.face.renderer import Picture
from edge_client.playback.events import View


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """One picture, as it was. Times are readings of the monotonic clock in µs."""

    shown_time_us: int
    """When showing returned."""
    glass_time_us: int
    """When it was expected to be on the glass."""
    view: View
    """What the player said about that time."""
    heard_pts_us: int | None
    """The PTS heard at `shown_time_us`; None unless the conversation of `view` is playing then."""

    @property
    def skew_us(self) -> int | None:
        """PTS heard minus PTS shown: positive where the sound is early; None if nothing is said, or no motion shown."""
        if self.heard_pts_us is None or self.view.shown_pts_us is None:
            return None
        return self.heard_pts_us - self.view.shown_pts_us


class PictureObserver:
    """Is shown each picture, while the one after it is about to be drawn. Quick: that one may wait for it."""

    def wants(self, now_us: int) -> bool:
        """Whether the picture that is drawn now is to be read back for it, which costs some ms. Asked of those in the face's process."""
        return False

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """A picture was shown; `pixels` is None unless an observer wanted them."""

    def close(self) -> None:
        """There are no more pictures."""


@dataclass(frozen=True, slots=True)
class RenderSummary:
    """The pictures so far."""

    frames_shown: int
    frames_skipped: int
    seconds: float
    """From the first picture to the last."""

    @property
    def frames_per_second(self) -> float:
        """Pictures shown each second, over all of the time."""
        return (self.frames_shown - 1) / self.seconds if self.seconds > 0 else 0.0
