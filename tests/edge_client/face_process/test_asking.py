"""The child's requests, with a parent that is fast, slow, unresponsive or gone."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from edge_client.children.pulse import Pulse, create_pulse
from edge_client.face.exchange import MAX_PACKET_BYTES, Answer, Question
from edge_client.face_process.asking import AskedSource
from edge_client.face_process.crashes import FORGOTTEN_US, Crashes
from edge_client.face_process.messages import Drawing, Leaving, Trying, pack_message, unpack_message
from edge_client.playback.events import PlayerState, View

VIEW = View(PlayerState.IDLE)


class Pair:
    """Both ends."""

    def __init__(self) -> None:
        self.parent, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        descriptor = create_pulse()
        self.pulse = Pulse(descriptor)
        os.close(descriptor)
        self.child = child
        self.source = AskedSource(child, self.pulse, patience_s=0.05)

    def answer_all(self) -> None:
        """On a separate thread."""
        self.parent.settimeout(5)
        while packet := self.parent.recv(MAX_PACKET_BYTES):
            self.parent.send(Answer(Question.unpack(packet).number, VIEW).pack())


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A requesting child and its parent."""
    found = Pair()
    yield found
    found.parent.close()
    found.child.close()


def test_an_answer_comes_at_once(pair: Pair) -> None:
    """Each picture is reported to the supervisor."""
    thread = threading.Thread(target=pair.answer_all)
    thread.start()
    for number in range(1, 20):
        answer = pair.source.ask(Question(number, 1, 2))
        assert answer is not None and answer.number == number
        pair.source.between_pictures()
    assert pair.pulse.signs().progress == 19
    pair.child.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_late_answer_is_dropped(pair: Pair) -> None:
    """A late reply is dropped, and not taken for that to the next request."""
    assert pair.source.ask(Question(1, 1, 2)) is None
    pair.parent.send(Answer(1, VIEW).pack())
    assert pair.source.ask(Question(2, 1, 2)) is None
    pair.parent.send(Answer(2, VIEW).pack())
    pair.parent.send(Answer(3, VIEW).pack())
    answer = pair.source.ask(Question(3, 1, 2))
    assert answer is not None and answer.number == 3
    assert not pair.source.has_ended


def test_a_parent_that_does_not_read_stops_no_picture(pair: Pair) -> None:
    """A parent that does not read delays no picture, nor does the child busy-loop when the socket is full."""
    pair.child.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_608)
    began = time.monotonic()
    for number in range(20):
        assert pair.source.ask(Question(number, 1, 2)) is None
    assert 20 * 0.045 < time.monotonic() - began < 20 * 0.2


def test_a_parent_that_is_gone_is_noticed(pair: Pair) -> None:
    """A closed parent is noticed before and during a request."""
    pair.parent.close()
    assert pair.source.ask(Question(1, 1, 2)) is None
    assert pair.source.has_ended


@pytest.mark.parametrize(
    "message",
    [
        Trying("gles", ("/tmp/.X11-unix/X0", "\0/tmp/.X11-unix/X0", ("host", 6_000))),
        Drawing("a name", "gles", "desktop", ("one", "two"), {"gles desktop :0": {"vsync": True, "samples": 4}}),
        Leaving("lost", "the display has gone"),
    ],
)
def test_messages_travel(message: Trying | Drawing | Leaving) -> None:
    """Messages are transferred unchanged."""
    assert unpack_message(pack_message(message)) == message
    assert pack_message(message).startswith(b"{")


def test_two_crashes_are_enough_and_an_hour_forgets_them() -> None:
    """Crashes of each renderer are counted separately."""
    crashes = Crashes()
    crashes.crashed("gles", 0)
    assert crashes.avoided(1) == frozenset()
    crashes.crashed("flat", 2)
    crashes.crashed("gles", 3)
    assert crashes.avoided(4) == {"gles"}
    assert crashes.avoided(FORGOTTEN_US) == frozenset()
    crashes.crashed("gles", FORGOTTEN_US + 5)
    assert crashes.avoided(FORGOTTEN_US + 6) == frozenset()
    crashes.crashed("gles", FORGOTTEN_US + 7)
    assert crashes.avoided(FORGOTTEN_US + 8) == {"gles"}
