"""Passes notices on to the observer, and says which devices they concern."""

from __future__ import annotations

from typing import assert_never

from avatar_relay.messages import Dropped, Finished, PlayerEvent
from relay_server.core.events import (
    ConversationEnded,
    ConversationFaulted,
    ConversationOpened,
    DeviceAttached,
    DeviceDetached,
    DeviceLost,
    FinishedIgnored,
    PlayerTold,
    Shown,
)
from relay_server.observer import RelayObserver


def observe(observer: RelayObserver, notice: Shown | FinishedIgnored) -> None:
    """Tell the observer."""
    match notice:
        case PlayerTold():
            _observe_event(observer, notice.event)
        case ConversationOpened():
            observer.conversation_opened(notice.open, notice.publisher_id, notice.device_ids)
        case ConversationEnded():
            observer.conversation_ended(notice.last.conversation_id, notice.last)
        case ConversationFaulted():
            observer.conversation_error(notice.conversation_id, notice.device_id, notice.fault)
        case FinishedIgnored():
            observer.finished_ignored(notice.device_id, notice.conversation_id)
        case DeviceAttached():
            observer.device_attached(notice.device_id, resumed=notice.resumed)
        case DeviceDetached():
            observer.device_detached(notice.device_id, notice.reason)
        case DeviceLost():
            observer.device_lost(notice.device_id, notice.reason)
        case _:
            assert_never(notice)


def _observe_event(observer: RelayObserver, event: PlayerEvent) -> None:
    match event.body:
        case Finished():
            observer.finished(event.device_id, event.conversation_id, event.body)
        case Dropped(kind=kind, payloads=payloads, bytes=size, reason=reason):
            observer.payloads_dropped(event.device_id, event.conversation_id, kind, payloads, size, reason)
        case _:
            observer.player_event(event.device_id, event.conversation_id, event.body)


def devices_of(notice: Shown) -> tuple[str, ...]:
    """The devices that a notice concerns; one empty name where it is no single one's."""
    match notice:
        case ConversationOpened() | ConversationEnded():
            return notice.device_ids
        case PlayerTold():
            return (notice.event.device_id,)
        case _:
            return (notice.device_id,)
