"""Passes player events to the publishers of their conversations. Pure.

An event is acknowledged when the publisher has acknowledged it, or if there is no publisher. A conversation finishes once; a later
finished event is ignored, unless it is a repetition of the same event.
"""

from __future__ import annotations

from dataclasses import replace

from avatar_relay.messages import Finished, PlayerEvent
from relay_server.core.events import Effect, FinishedIgnored, PlayerTold, TellPublisher
from relay_server.core.finishing import finish, tell_event
from relay_server.core.registry import Registry
from relay_server.core.session import Session


def pass_on(registry: Registry, session: Session, event: PlayerEvent, now_us: int) -> list[Effect]:
    """Handle an event that a device sent at `now_us`."""
    owner = session.owner(event.conversation_id)
    publisher = registry.publishers.get(owner) if owner is not None else None
    if (delivery := session.deliveries.get(event.conversation_id)) is not None:
        delivery.note_position(event.body, now_us)
    told = PlayerEvent(event.event_id, event.conversation_id, event.body, session.device_id)
    effects: list[Effect]
    if not isinstance(event.body, Finished):
        effects = tell_event(owner, told) if owner is not None else [PlayerTold(told)]
    elif event.conversation_id in session.deliveries:
        effects = finish(registry, session, told)
    elif (reason := session.reason_again(event)) is not None and publisher is not None:
        effects = [TellPublisher(publisher.key, replace(told, body=replace(event.body, reason=reason)))]
    else:
        effects, publisher = [FinishedIgnored(session.device_id, event.conversation_id)], None
    session.events.record(event.event_id, publisher.key if publisher is not None and not publisher.by_hand else None)
    session.acknowledge()
    return effects
