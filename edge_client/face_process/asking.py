"""The child's side of the exchange: sends a question before each picture, and waits a short time for its answer."""

from __future__ import annotations

import math
import select
import socket
import time
from collections.abc import Callable

from edge_client.children.pulse import Pulse
from edge_client.face.exchange import MAX_PACKET_BYTES, NO_ANSWER_S, Answer, Question


class AskedSource:
    """A `PictureSource` whose answers come from the parent. Each picture is reported to the supervisor, and each answer to `on_answer`."""

    def __init__(
        self,
        channel: socket.socket,
        pulse: Pulse,
        *,
        patience_s: float = NO_ANSWER_S,
        on_answer: Callable[[Answer], None] = lambda answer: None,
    ) -> None:
        self._channel = channel
        self._pulse = pulse
        self._patience_s = patience_s
        self._on_answer = on_answer
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)
        self.has_ended = False
        """The parent wants no more pictures, or has ended."""

    def ask(self, question: Question) -> Answer | None:
        """See `PictureSource`. Answers to earlier questions are dropped."""
        until = time.monotonic() + self._patience_s
        try:
            self._channel.send(question.pack(), socket.MSG_DONTWAIT)
            while (left_s := until - time.monotonic()) > 0 and not self.has_ended:
                if not self._poll.poll(math.ceil(left_s * 1e3)):
                    continue
                packet = self._channel.recv(MAX_PACKET_BYTES)
                if not packet:
                    self.has_ended = True
                elif (answer := Answer.unpack(packet)).number == question.number:
                    self._on_answer(answer)
                    return answer
        except BlockingIOError:
            time.sleep(max(0.0, until - time.monotonic()))  # the parent does not read: it is stopped, or very busy
        except ConnectionError:
            self.has_ended = True
        return None

    def rest(self, seconds: float) -> None:
        """Ask nothing for so long, or until the parent sends a packet, which is dropped."""
        if self._poll.poll(math.ceil(seconds * 1e3)):
            try:
                self.has_ended = not self._channel.recv(MAX_PACKET_BYTES)
            except ConnectionError:
                self.has_ended = True
        self._pulse.progress()

    def between_pictures(self) -> None:
        """See `PictureSource`."""
        self._pulse.progress()
