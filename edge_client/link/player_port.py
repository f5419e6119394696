"""Adapter between link and playback: translates the relay's messages for the player.

`welcome` carries the volume, and names conversations that cannot continue: what is held of them is played out, so that their finished event
is sent. Volume is relative to the maximum set by the device's owner. An error from the relay is for people; the relay sends any consequence
(an end, an interrupt) itself.
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
"""What the device reports besides playback."""


class Engine(Protocol):
    """Interface of playback that the port uses."""

    def handle(self, message: Message, now_us: int) -> None:
        """Accept a message."""
        ...

    def buffer_credit(self) -> Credit:
        """The total credit."""
        ...

    def cursors(self) -> tuple[Cursor, ...]:
        """What is held."""
        ...

    @property
    def state(self) -> PlayerState:
        """The state of the player."""
        ...

    def tick(self, now_us: int) -> list[Output]:
        """Advance to `now_us`; returns the reports to send."""
        ...


class PlayerPort:
    """The player as seen by the link."""

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
        """`loudest` is the gain for a volume of 1.

        Without a `volume` none is stored, without `settings` none are accepted, without `parts` none are reported. `act` performs an
        operator's request.
        """
        self._engine = engine
        self._loudest = loudest
        self._stored_volume = volume or StoredVolume()
        self._stored_settings = settings
        self._parts = parts
        self._act = act

    @property
    def state(self) -> PlayerState:
        """The state of the player."""
        return self._engine.state

    @property
    def volume(self) -> m.Volume:
        """The volume of the device."""
        return self._stored_volume.volume

    @property
    def settings(self) -> DeviceSettings | None:
        """The settings set by operators; None if the device accepts none."""
        return None if self._stored_settings is None else self._stored_settings.settings

    def tick(self, now_us: int) -> list[Output | Told]:
        """Advance playback to `now_us`; returns what to send."""
        outputs: list[Output | Told] = [*self._engine.tick(now_us)]
        if (stored := self._stored_volume.news()) is not None:
            outputs.append(stored)
        if self._stored_settings is not None and (settings := self._stored_settings.news()) is not None:
            outputs.append(settings)
        if self._parts is not None and (parts := self._parts.news(now_us)) is not None:
            outputs.append(parts)
        return outputs

    def buffer_credit(self) -> Credit:
        """The total credit."""
        return self._engine.buffer_credit()

    def cursors(self) -> tuple[Cursor, ...]:
        """What is held of each conversation that is not over."""
        return self._engine.cursors()

    def handle(self, message: m.ToDevice, now_us: int) -> None:
        """Pass a message on if it concerns the player."""
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
