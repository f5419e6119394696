"""Between link and playback: what the relay says to the device becomes what the player understands.

`welcome` carries the volume, and names conversations that cannot go on: those play out what is held of them, so that
their finished event comes. Volume is relative to what the device's owner allows. An error that the relay tells is for
people; what follows from it (an end, an interrupt) is said by the relay itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from avatar_relay import messages as m
from avatar_relay.device_state import DeviceSettings, Identify, Parts, Restart, Update
from avatar_relay.media import Credit, Cursor
from edge_client.parts import PartsReporter
from edge_client.playback.engine import Message
from edge_client.playback.events import Output, PlayerState
from edge_client.stored_settings import StoredSettings
from edge_client.volume import StoredVolume

logger = logging.getLogger(__name__)

Told = m.Volume | DeviceSettings | Parts
"""What the device tells beside what it plays."""


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

    @property
    def state(self) -> PlayerState:
        """What it does."""
        ...

    def tick(self, now_us: int) -> list[Output]:
        """Go on to `now_us`; returns what is to be told."""
        ...


class PlayerPort:
    """The link's `Player`."""

    def __init__(
        self,
        engine: Engine,
        *,
        loudest: float,
        volume: StoredVolume | None = None,
        settings: StoredSettings | None = None,
        parts: PartsReporter | None = None,
        act: Callable[[Restart | Identify | Update], object] = lambda action: None,
    ) -> None:
        """`loudest` is the gain that a volume of 1 stands for. Without a `volume` none is stored, without `settings` none are taken,
        without `parts` none are told. `act` does what an operator asks the device for."""
        self._engine = engine
        self._loudest = loudest
        self._stored_volume = volume or StoredVolume()
        self._stored_settings = settings
        self._parts = parts
        self._act = act

    @property
    def state(self) -> PlayerState:
        """What the player does."""
        return self._engine.state

    @property
    def volume(self) -> m.Volume:
        """How loud the device is set."""
        return self._stored_volume.volume

    @property
    def settings(self) -> DeviceSettings | None:
        """What operators have set; None from a device that takes no settings."""
        return None if self._stored_settings is None else self._stored_settings.settings

    def tick(self, now_us: int) -> list[Output | Told]:
        """Let playback go on to `now_us`; returns what is to be sent."""
        outputs: list[Output | Told] = [*self._engine.tick(now_us)]
        if (stored := self._stored_volume.news()) is not None:
            outputs.append(stored)
        if self._stored_settings is not None and (settings := self._stored_settings.news()) is not None:
            outputs.append(settings)
        if self._parts is not None and (parts := self._parts.news(now_us)) is not None:
            outputs.append(parts)
        return outputs

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
                self._stored_volume.welcome(message.volume)
                self._apply_volume(now_us)
                if self._stored_settings is not None:
                    self._stored_settings.welcome(message.settings)
                if self._parts is not None:
                    self._parts.attached()
                self._let_play_out(message.lost_conversation_ids, now_us)
            case m.Volume():
                self._stored_volume.set(message)
                self._apply_volume(now_us)
            case DeviceSettings():
                if self._stored_settings is not None:
                    self._stored_settings.set(message)
            case Restart() | Identify() | Update():
                self._act(message)
            case m.ConversationError():
                logger.warning("the relay reports for %s: %s", message.conversation_id, message.fault.reason)
            case m.Ping() | m.Pong() | m.EventAck() | m.GoAway():
                raise ValueError(f"{type(message).__name__} is the link's own business")
            case _:
                self._engine.handle(message, now_us)

    def _apply_volume(self, now_us: int) -> None:
        volume = self._stored_volume.volume
        self._engine.handle(m.Volume(volume.gain * self._loudest, volume.muted), now_us)

    def _let_play_out(self, lost: tuple[str, ...], now_us: int) -> None:
        for cursor in self._engine.cursors():
            if cursor.conversation_id in lost:
                logger.warning("conversation %s cannot continue; its buffered media plays out", cursor.conversation_id)
                self._engine.handle(m.ConversationEnd(cursor.conversation_id, cursor.audio_seq, cursor.motion_seq), now_us)
