"""A face process hosted by a test, drawing for a player that always speaks; and observers that run in it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from edge_client.audio.timeline import Position
from edge_client.children.supervision import ChildState
from edge_client.config import EdgeConfig
from edge_client.face.answers import FaceAnswers
from edge_client.face.pictures import PictureObserver, ShownPicture
from edge_client.face.renderer import Picture
from edge_client.face_process.host import FaceProcess, FaceStatus
from edge_client.face_process.messages import Watcher
from edge_client.motion.pose import neutral_pose
from edge_client.playback.events import PlayerState, View

PATIENCE_S = 30.0


class Speaking:
    """A player that is heard since time 0; the pose is that of the audible PTS. It can be held up."""

    state = PlayerState.PLAYING
    hold_s = 0.0

    def view(self, now_us: int) -> View:
        """See `ViewSource`."""
        time.sleep(self.hold_s)
        return View(PlayerState.PLAYING, "c-1", now_us, neutral_pose(), 1.0, now_us)

    def audible(self, now_us: int) -> Position | None:
        """See `ViewSource`."""
        return Position("c-1", now_us)

    def analyse_sound(self) -> None:
        """There is none."""


class Told(PictureObserver):
    """Records the reports on pictures."""

    def __init__(self) -> None:
        self.pictures: list[ShownPicture] = []

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """See `PictureObserver`."""
        self.pictures.append(picture)


class Hosted:
    """The face process, and its observed state."""

    def __init__(self, config: EdgeConfig, watchers: Sequence[Watcher], film: int | None) -> None:
        self.player, self.told = Speaking(), Told()
        self.answers = FaceAnswers(self.player, observers=(self.told,))
        self.closed: list[bool] = []
        self.face = FaceProcess(config, self.answers, name="test", watchers=watchers, film=film, on_closed=lambda: self.closed.append(True))

    def wait_for(self, what: Callable[[], bool], patience_s: float = PATIENCE_S) -> float:
        """Wait until a condition is true; returns the seconds it took."""
        began = time.monotonic()
        while not what():
            assert time.monotonic() - began < patience_s, str(self.face.status())
            time.sleep(0.01)
        return time.monotonic() - began

    def runs(self, restarts: int = 0) -> bool:
        """Whether it draws after so many restarts."""
        status = self.face.status()
        return status.state is ChildState.RUNNING and status.restarts >= restarts

    def pid(self) -> int:
        """The process id of the drawing process."""
        child = self.face.child
        assert child is not None
        return child.pid

    def back_after(self, do: Callable[[int], None]) -> float:
        """Act on the process; returns the seconds until the next picture of another one."""
        pid, before = self.pid(), len(self.told.pictures)
        began = time.monotonic()
        do(pid)
        self.wait_for(lambda: self.face.child is not None and self.pid() != pid)
        before = len(self.told.pictures)
        self.wait_for(lambda: len(self.told.pictures) > before)
        return time.monotonic() - began

    def status(self) -> FaceStatus:
        """The current renderer."""
        return self.face.status()


@contextmanager
def hosted(config: EdgeConfig, watchers: Sequence[Watcher] = (), film: int | None = None) -> Iterator[Hosted]:
    """A face process that draws."""
    found = Hosted(config, watchers, film)
    found.face.start()
    try:
        found.wait_for(lambda: bool(found.told.pictures))
        yield found
    finally:
        found.face.close()


class AbortInGl(PictureObserver):
    """A GL driver that crashes after its first pictures."""

    def __init__(self, argument: str) -> None:
        self._left = int(argument)

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """See `PictureObserver`."""
        self._left -= 1
        if self._left < 0 and "OpenGL" in sys.modules:
            os.abort()


class HangInGl(AbortInGl):
    """A GL driver that hangs."""

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """See `PictureObserver`."""
        self._left -= 1
        if self._left < 0 and "OpenGL" in sys.modules:
            time.sleep(60)
