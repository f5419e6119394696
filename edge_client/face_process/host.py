"""The core's side of the face process: keeps it running, and answers its questions.

Threads. `face-supervisor` starts, watches and ends the child. `face` answers its questions, and calls the observers of pictures.
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from avatar_relay.device_state import Part, PartState
from edge_client.children.child import Child
from edge_client.children.supervision import ChildLimits, ChildState
from edge_client.children.supervisor import Supervisor
from edge_client.config import EdgeConfig
from edge_client.face.answers import FaceAnswers
from edge_client.face.displays import DesktopDisplay
from edge_client.face.exchange import MAX_PACKET_BYTES, Question
from edge_client.face_process.crashes import Crashes
from edge_client.face_process.messages import Drawing, FaceStart, Leaving, Trying, Watcher, unpack_message
from edge_client.face_process.screen_power import ScreenPower, locked_backlights
from edge_client.parts import part
from edge_client.renderers import BUILT_IN

logger = logging.getLogger(__name__)

MODULE = "edge_client.face_process"
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS})
LIMITS = ChildLimits(
    progress_us=10_000_000,
    first_progress_us=30_000_000,
    pauses_us=(0, 0, 0, 500_000, 1_000_000, 2_000_000, 5_000_000),
    healthy_us=1_000_000,
)
LIGHT_S = 1.0
"""How long `close` waits for the command that restores the light."""
SEARCH_S = (3.0, 5.0, 10.0, 30.0, 60.0)
"""Intervals at which a face drawn off-screen looks for a display: longer each time a display was found but could not be used."""


class FaceChild(Child):
    """One process, and its reports about itself. A reported reason becomes its reason to end."""

    trying = Trying("")
    drawing: Drawing | None = None
    leaving: Leaving | None = None
    _hung = False

    def exit_text(self) -> str | None:
        """See `Child`."""
        how = super().exit_text()
        return how if how is None or self.leaving is None else self.leaving.reason

    def kill(self) -> None:
        """See `Child`. A child that was stopped from outside (SIGSTOP) does not count as hung."""
        self._hung = not self.signs().is_stopped
        super().kill()

    @property
    def has_crashed(self) -> bool:
        """Whether the renderer ended or hung the process; False if others killed it, or it ended with a reason."""
        status = self.exit_status or 0
        return self.leaving is None and (self._hung or status > 0 or -status in _CRASHES)

    @property
    def restored_light(self) -> bool:
        """Whether a sleeping screen was lit at its end: by one that was asked to end, or whose window was closed, and was not killed."""
        return self.exit_status == 0 and (self.leaving is None or self.leaving.why == "closed")


@dataclass(frozen=True, slots=True)
class FaceStatus:
    """What draws, for people and metrics."""

    state: ChildState
    name: str = ""
    """The renderer's name; empty before the first."""
    kind: str = "none"
    where: str = "none"
    reason: str = ""
    """Why nothing better draws."""
    restarts: int = 0
    """How often the process failed and was started again."""
    restart_reason: str = ""
    unanswered: int = 0
    """Pictures drawn without an answer."""

    def part(self) -> Part:
        """The same as a message."""
        return part("face", PartState[self.state.name], self.name, self.reason, self.restarts, self.restart_reason)

    def __str__(self) -> str:
        drawn = self.name or self.state.value
        return f"{drawn}; {self.reason}" if self.reason else drawn


class FaceProcess:
    """The face, wherever it can be drawn. `close` must be called on the thread that made it; all else on any thread."""

    def __init__(
        self,
        config: EdgeConfig,
        answers: FaceAnswers,
        *,
        name: str,
        watchers: Sequence[Watcher] = (),
        film: int | None = None,
        is_watched: bool = True,
        on_closed: Callable[[], None],
    ) -> None:
        """`film` is the descriptor of a film's memory. `on_closed` is called when a person closed the window.

        Off-screen nothing is drawn unless there is a film or a watcher, or `answers` has observers that need the pictures (`is_watched`).
        """
        self._config = config
        self._answers = answers
        self._name = name
        self._watchers = tuple(watchers)
        self._film = film
        self._is_watched = is_watched
        self._on_closed = on_closed
        self._crashes = Crashes()
        self._known: dict[str, Any] = {}
        self._drawing: Drawing | None = None
        self._searched = False
        self._is_dark: bool | None = None
        self._lost_searches = 0
        self._answering: threading.Thread | None = None
        self._supervisor = Supervisor("face", LIMITS, self._start_child, self._ended)
        self.child: FaceChild | None = None
        """The process started last."""
        self.was_tried = threading.Event()
        """Set when the first picture was shown, or could not be."""

    def start(self) -> None:
        """Start the child. Returns when it has started once, or failed to."""
        if self._config.may_sleep and not self._config.sleep_command and (locked := locked_backlights()):
            logger.warning("the screen turns black when it sleeps, but its backlight stays on: this user may not write %s", locked[0])
        self._supervisor.start()
        self._supervisor.started_once.wait()

    def close(self) -> None:
        """End the child, and restore the light if it could not. Takes a few tenths of a second, at most 4 s if it hangs."""
        self._supervisor.close()
        if self._answering is not None:
            self._answering.join()
        if self._is_dark and self._config.may_sleep and (self.child is None or not self.child.restored_light):
            ScreenPower(shlex.split(self._config.sleep_command), is_dark=True).close(LIGHT_S)

    @property
    def renderer_name(self) -> str:
        """Name of the last renderer; `none` before the first."""
        return self._drawing.name if self._drawing is not None else "none"

    def status(self) -> FaceStatus:
        """What draws, and why nothing better does."""
        standing, drawing = self._supervisor.standing, self._drawing or Drawing("", "none", "none")
        reason = standing.reason or "; ".join(drawing.reasons)
        restarts = self._supervisor.restarts
        counts = (restarts.count, restarts.reason, self._answers.unanswered)
        return FaceStatus(standing.state, drawing.name, drawing.kind, drawing.where, reason, *counts)

    # On the supervisor's thread.

    def _start_child(self) -> FaceChild:
        now_us = time.monotonic_ns() // 1_000
        search_s = SEARCH_S[min(self._lost_searches, len(SEARCH_S) - 1)]
        avoid = self._crashes.avoided(now_us)
        start = FaceStart(
            self._config,
            self._name,
            self._watchers,
            is_filmed=self._film is not None,
            avoid=avoid,
            known=self._known,
            is_dark=self._is_dark,
            search_s=search_s,
            is_watched=self._is_watched,
        )
        descriptors = () if self._film is None else (self._film,)
        child = FaceChild(MODULE, descriptors=descriptors, keeps_stdout=self._config.renderer not in BUILT_IN)
        child.channel.send(start.pack())
        self.child = child
        if self._answering is not None:
            self._answering.join()  # the last child has ended, and so has its channel
        self._answering = threading.Thread(target=self._answer, args=(child, child.channel), name="face", daemon=True)
        self._answering.start()
        return child

    def _ended(self, child: FaceChild, how: str) -> bool:
        if self._answering is not None:
            self._answering.join()  # it has read the last messages
        self.was_tried.set()
        leaving = child.leaving
        self._searched = leaving is not None and leaving.why == "screen"
        if leaving is not None and leaving.why == "closed":
            self._supervisor.stop()
            self._on_closed()
        if child.has_crashed and DesktopDisplay("", "", (), child.trying.addresses).answers():  # else the display disappeared
            self._crashes.crashed(child.trying.kind, time.monotonic_ns() // 1_000)
            self._known = {}
        return self._searched

    # On the thread that answers.

    def _answer(self, child: FaceChild, channel: socket.socket) -> None:
        """Answer questions until the child ends. Of several waiting questions only the newest is answered: the others have timed out."""
        self._answers.begin()
        while packet := _received(channel, 0):
            question: Question | None = None
            while packet:
                question = self._take(child, packet) or question
                packet = _received(channel, socket.MSG_DONTWAIT)
            if question is not None:
                self._reply(channel, question)

    def _take(self, child: FaceChild, packet: bytes) -> Question | None:
        if not packet.startswith(b"{"):
            return Question.unpack(packet)
        match unpack_message(packet):
            case Trying() as trying:
                child.trying = trying
            case Drawing() as drawing:
                child.drawing = drawing
                self._tell(drawing)
            case Leaving() as leaving:
                child.leaving = leaving
        return None

    def _reply(self, channel: socket.socket, question: Question) -> None:
        answer = self._answers.ask(question)
        self._is_dark = answer.overlay.is_dark
        with contextlib.suppress(OSError):  # it has ended, or does not read: its next question will be answered
            channel.send(answer.pack(), socket.MSG_DONTWAIT)
        self._answers.between_pictures()
        if question.shown_number is not None:
            self.was_tried.set()

    def _tell(self, drawing: Drawing) -> None:
        self._lost_searches = self._lost_searches + 1 if drawing.where == "off-screen" and self._searched else 0
        self._drawing, self._known = drawing, self._known | drawing.known
        logger.info("The face is drawn by %s", drawing.name)
        for reason in drawing.reasons:
            logger.warning("No face by %s", reason)


def _received(channel: socket.socket, flags: int) -> bytes:
    """The next packet; empty if there is none now, or the channel has ended."""
    try:
        return channel.recv(MAX_PACKET_BYTES, flags)
    except OSError:
        return b""
