"""Pictures shown, and the interface of their observers."""

from __future__ import annotations

from dataclasses import dataclass

from edge_client.face.renderer import Picture
from edge_client.playback.events import View


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """A picture as it was shown. Times are readings of the monotonic clock in µs."""

    shown_time_us: int
    """When showing returned."""
    glass_time_us: int
    """When it was expected to be on the screen."""
    view: View
    """The player's answer for that time."""
    heard_pts_us: int | None
    """The PTS heard at `shown_time_us`; None unless the conversation of `view` was playing then."""

    @property
    def skew_us(self) -> int | None:
        """PTS heard minus PTS shown: positive if the sound is early; None if nothing was heard, or no motion shown."""
        if self.heard_pts_us is None or self.view.shown_pts_us is None:
            return None
        return self.heard_pts_us - self.view.shown_pts_us


class PictureObserver:
    """Receives each picture while the next one is about to be drawn. Must be quick: that picture may wait for it."""

    def wants(self, now_us: int) -> bool:
        """Whether the current picture must be read back for this observer, which costs some ms. Asked only in the face's process."""
        return False

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """Called after a picture was shown; `pixels` is None unless an observer wanted them."""

    def close(self) -> None:
        """Called after the last picture."""


@dataclass(frozen=True, slots=True)
class RenderSummary:
    """Totals of the pictures so far."""

    frames_shown: int
    frames_skipped: int
    seconds: float
    """Time from the first picture to the last."""

    @property
    def frames_per_second(self) -> float:
        """Mean number of pictures shown per second."""
        return (self.frames_shown - 1) / self.seconds if self.seconds > 0 else 0.0
