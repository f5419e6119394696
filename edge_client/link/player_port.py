"""Between link and playback: what the relay says to the device becomes what the player understands.

`welcome` carries the loudness, and names conversations that can not go on: those play out what is held of them, so that
their finished event comes. Loudness is relative to what the device's owner allows. An error that the relay tells is for
people; what follows from it (an end, an interrupt) is said by the relay itself.
"""

from __future__ import annotations

import logging
from typing import Protocol

from avatar_relay import messages as m
from avatar_relay.media import Credit, Cursor
from edge_client.playback.engine import Message

logger = logging.getLogger(__name__)


class Engine(Protocol):
    """The playback, as seen from here."""

    def handle(self, message: Message, now_us: int) -> None:
        """Take a message."""
        ...

    def buffer_credit(self) -> Credit:
        """All the room there is."""
        ...

    def cursors(self) -> tuple[Cursor, ...]:
        """What is held."""
        ...


class PlayerPort:
    """The link's `Player`."""

    def __init__(self, engine: Engine, *, loudest: float) -> None:
        """`loudest` is the gain that the relay's full loudness stands for."""
        self._engine = engine
        self._loudest = loudest

    def buffer_credit(self) -> Credit:
        """All the room there is."""
        return self._engine.buffer_credit()

    def cursors(self) -> tuple[Cursor, ...]:
        """What is held of each conversation that is not over."""
        return self._engine.cursors()

    def handle(self, message: m.ToDevice, now_us: int) -> None:
        """Hand a message on, as far as it concerns the player."""
        match message:
            case m.Welcome():
                self._set_volume(message.volume, now_us)
                self._let_play_out(message.lost_conversation_ids, now_us)
            case m.Volume():
                self._set_volume(message, now_us)
            case m.ConversationError():
                logger.warning("the relay reports for %s: %s", message.conversation_id, message.fault.reason)
            case m.Ping() | m.Pong() | m.EventAck() | m.GoAway():
                raise ValueError(f"{type(message).__name__} is the link's own business")
            case _:
                self._engine.handle(message, now_us)

    def _set_volume(self, volume: m.Volume, now_us: int) -> None:
        self._engine.handle(m.Volume(volume.gain * self._loudest, volume.muted), now_us)

    def _let_play_out(self, lost: tuple[str, ...], now_us: int) -> None:
        for cursor in self._engine.cursors():
            if cursor.conversation_id in lost:
                logger.warning("conversation %s can not go on; what is held of it plays out", cursor.conversation_id)
                self._engine.handle(m.ConversationEnd(cursor.conversation_id, cursor.audio_seq, cursor.motion_seq), now_us)
