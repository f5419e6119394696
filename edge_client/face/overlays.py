"""Decides what is written over the face, and when. Pure: it reads the device's status and is queried before each picture.

Rules
1. The face itself never stops, whatever is written over it.
2. Until the relay has accepted this device once: the pairing code, if the device is not paired. Otherwise the page "Starting", and from
   `STARTING_US` on the page "No connection" with the reason.
3. Afterwards, without a link: a sign in the corner as long as something is played. The page appears when nothing is played any more
   (playback is over or waits for the rest) and the link has been down for `PAGE_AFTER_US`: a short interruption is not reported.
4. A device that should have sound but has none shows this: a page for the first `SOUNDLESS_US` of idle time, then a sign.
5. None of this wakes a sleeping screen.
6. Figures are shown on demand, and change at intervals of `FIGURES_US`, so that they can be read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edge_client.face.overlay import DARK, Overlay, Page
from edge_client.face.pictures import PictureObserver, ShownPicture
from edge_client.face.renderer import Picture
from edge_client.playback.events import PlayerState, View

STARTING_US = 4_000_000
PAGE_AFTER_US = 1_500_000
SOUNDLESS_US = 8_000_000
FIGURES_US = 500_000
SKEW_WINDOW = 900
"""Number of pictures over which the p99 of the skew is computed: half a minute."""

_NO_ANSWER = ("UNAVAILABLE", "DEADLINE_EXCEEDED")
_LONGEST_REASON = 160

_SILENT = (PlayerState.IDLE, PlayerState.STALLED, PlayerState.BUFFERING)


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """State of the device apart from playback."""

    attached: bool = False
    relay: str = ""
    """Address of the relay."""
    link: str = "not connected yet"
    """State of the link in words: why there is none."""
    was_attached: bool = False
    pairing: str = ""
    """NAME-CODE, with which an operator admits the device; empty unless it waits for pairing."""
    identify: str = ""
    """Its name, while an operator identifies the device; else empty."""
    soundless: str = ""
    """Why there is no sound; empty if there is, or if there should be none."""
    sound: str = ""
    """What plays the sound; empty if an application does not report it."""
    underruns: int = 0
    face: str = ""
    """What draws, and why nothing better does; empty if a test or an application draws."""
    version: str = ""


class FaceOverlays(PictureObserver):
    """Writes over one face, with figures computed from its pictures. Belongs to the render loop's thread."""

    def __init__(
        self, status: Callable[[], DeviceStatus], *, figures: bool = False, sleeps: Callable[[bool, int], bool] = lambda busy, now_us: False
    ) -> None:
        """`status` and `sleeps` (whether the screen sleeps) are called for each picture and must be quick. `figures`: initially shown."""
        self._status = status
        self._sleeps = sleeps
        self._shows_figures = figures
        self._start_us: int | None = None
        self._away_since_us: int | None = None
        self._soundless_us = 0
        self._last_us = 0
        self._skews_us: deque[int] = deque(maxlen=SKEW_WINDOW)
        self._times_us: deque[int] = deque(maxlen=61)
        self._figures: tuple[str, ...] = ()
        self._figures_us: int | None = None

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """See `PictureObserver`."""
        self._times_us.append(picture.shown_time_us)
        if picture.skew_us is not None:
            self._skews_us.append(picture.skew_us)

    def toggle_figures(self) -> None:
        """See `OverlaySource`."""
        self._shows_figures = not self._shows_figures
        self._figures_us = None

    def overlay(self, view: View, now_us: int) -> Overlay:
        """See `OverlaySource`."""
        status = self._status()
        if self._sleeps(view.state is not PlayerState.IDLE, now_us) and not status.pairing and not status.identify:
            return DARK
        start_us = self._start_us = now_us if self._start_us is None else self._start_us
        if status.attached:
            self._away_since_us = None
        elif self._away_since_us is None:
            self._away_since_us = now_us
        page, sign = self._link_notice(status, view.state in _SILENT, now_us - start_us, now_us)
        if status.identify:
            page = Page(status.identify, "This is the device that was asked for")
        if status.soundless and page is None and not sign:
            page, sign = self._sound_notice(status, view.state, now_us)
        self._last_us = now_us
        return Overlay(page, sign, self._figures_at(view, status, now_us) if self._shows_figures else ())

    def _link_notice(self, status: DeviceStatus, silent: bool, since_start_us: int, now_us: int) -> tuple[Page | None, str]:
        if self._away_since_us is None:
            return None, ""
        if status.pairing:
            return Page(status.pairing, f"Let this device in: relayctl pair {status.pairing}", status.pairing), ""
        if not status.was_attached:
            waiting = Page("Starting", "Looking for the relay")
            return (waiting if since_start_us < STARTING_US else Page("No connection", _reason(status))), ""
        if silent and now_us - self._away_since_us >= PAGE_AFTER_US:
            return Page("No connection", _reason(status)), ""
        return None, "no connection"

    def _sound_notice(self, status: DeviceStatus, state: PlayerState, now_us: int) -> tuple[Page | None, str]:
        if state is not PlayerState.IDLE or self._soundless_us >= SOUNDLESS_US:
            return None, "no sound"
        self._soundless_us += now_us - self._last_us if self._last_us else 0
        return Page("No sound", status.soundless), ""

    def _figures_at(self, view: View, status: DeviceStatus, now_us: int) -> tuple[str, ...]:
        if self._figures_us is None or now_us - self._figures_us >= FIGURES_US:
            self._figures_us = now_us
            self._figures = self._figures_of(view, status)
        return self._figures

    def _figures_of(self, view: View, status: DeviceStatus) -> tuple[str, ...]:
        return (
            self._skew_text(),
            f"buffer {view.buffered_us / 1e6:.2f} s",
            f"{self._pictures_per_second():.1f} pictures/s",
            f"underruns {status.underruns}",
            f"link: {status.link}"[:60],
            *((f"sound: {status.sound}"[:60],) if status.sound else ()),
            *((f"face: {status.face}"[:60],) if status.face else ()),
            f"version {status.version}",
        )

    def _skew_text(self) -> str:
        if not self._skews_us:
            return "skew: nothing said yet"
        sizes = sorted(abs(skew) for skew in self._skews_us)
        p99 = sizes[min(len(sizes) - 1, round(0.99 * len(sizes)))]
        return f"skew {self._skews_us[-1] / 1e3:+.1f} ms, p99 {p99 / 1e3:.1f} ms"

    def _pictures_per_second(self) -> float:
        if len(self._times_us) < 2:
            return 0.0
        return (len(self._times_us) - 1) * 1e6 / max(1, self._times_us[-1] - self._times_us[0])


def _reason(status: DeviceStatus) -> str:
    """Reason for people in front of the device: usually the relay does not answer, and the error text of gRPC would not help."""
    if status.link.startswith(_NO_ANSWER):
        return f"The relay at {status.relay} does not answer. Trying again."
    return status.link[:_LONGEST_REASON]
