"""Ends conversations on devices, whatever the cause: the only place that ensures exactly one finished event. Pure.

Motion dropped for a narrow link is reported before the end, and before a stream ends: afterwards the device may be at another relay.
"""

from __future__ import annotations

from avatar_relay.media import Kind
from avatar_relay.messages import ConversationError, Dropped, Finished, PlayerEvent
from avatar_relay.reasons import DropReason, Fault, Reason
from relay_server.core.conversation import Conversation
from relay_server.core.events import ConversationFaulted, Effect, PlayerTold, TellPublisher, WakeDevice
from relay_server.core.registry import Registry
from relay_server.core.session import Session

MADE_BY_RELAY = 0
"""`event_id` of an event made by the relay: sent once and not acknowledged."""


def tell_event(publisher: str, event: PlayerEvent) -> list[Effect]:
    """Pass a player event to a publisher and to watchers."""
    return [TellPublisher(publisher, event), PlayerTold(event)]


def report_fault(publisher: str, conversation_id: str, fault: Fault, device_id: str = "") -> list[Effect]:
    """Report a fault of a conversation to a publisher and to watchers."""
    error = ConversationError(conversation_id, fault, device_id)
    return [TellPublisher(publisher, error), ConversationFaulted(conversation_id, device_id, fault)]


def cut_on(registry: Registry, conversation_id: str, session: Session, finished: Finished) -> list[Effect]:
    """Interrupt a conversation on a device. If the device does not know it, `finished` is reported on its behalf."""
    session.interrupt(conversation_id)
    return [WakeDevice(session.device_id), *has_cut(registry, conversation_id, session, finished)]


def has_cut(registry: Registry, conversation_id: str, session: Session, finished: Finished) -> list[Effect]:
    """A session has cut a conversation. If its device does not know it, `finished` is reported on its behalf.

    In a cluster a device that is away may have received it from another relay. Then its end is reported when the device is back here, or
    by the relay that has it; at the end of the lease the device is lost.
    """
    registry.conversations[conversation_id].cut(session.device_id)
    delivery = session.deliveries[conversation_id]
    delivery.again |= registry.in_cluster and not session.attached
    if delivery.announced or delivery.again or session.attached:
        return []
    return finish(registry, session, PlayerEvent(MADE_BY_RELAY, conversation_id, finished))


def finish(registry: Registry, session: Session, event: PlayerEvent) -> list[Effect]:
    """Finish a conversation on a device with `event`; no effects if it had finished before."""
    if event.conversation_id not in session.deliveries or not isinstance(event.body, Finished):
        return []
    yielded = tell_yielded(session, event.conversation_id)
    conversation = registry.conversations[event.conversation_id]
    body = event.body.cut_short(conversation.broken_off)
    session.finish(event.conversation_id, event.event_id, body.reason)
    told = PlayerEvent(event.event_id, event.conversation_id, body, session.device_id)
    effects = yielded + tell_event(conversation.publisher, told)
    if conversation.finished(session.device_id, body):
        effects += _close(registry, conversation)
    return [*effects, WakeDevice(session.device_id)]


def tell_yielded(session: Session, conversation_id: str) -> list[Effect]:
    """Report motion dropped since the last report, and the reason once for each conversation."""
    delivery = session.deliveries.get(conversation_id)
    if delivery is None or not delivery.yielded:
        return []
    effects: list[Effect] = []
    if not delivery.narrow_told:
        delivery.narrow_told = True
        text = f"the link to device {session.device_id} is too slow: audio has priority, and motion is dropped if necessary"
        effects += report_fault(delivery.publisher, conversation_id, Fault(Reason.LINK_NARROW, text), session.device_id)
    new, total = delivery.yielded, delivery.yielded_total
    total.update(new)
    counts = (delivery.count_id, total["payloads"], total["bytes"])
    body = Dropped(Kind.MOTION, new["payloads"], new["bytes"], DropReason.LINK_NARROW.value, *counts)
    delivery.yielded.clear()
    return effects + tell_event(delivery.publisher, PlayerEvent(MADE_BY_RELAY, conversation_id, body, session.device_id))


def _close(registry: Registry, conversation: Conversation) -> list[Effect]:
    registry.close(conversation)
    if len(conversation.device_ids) == 1:
        return []
    summary = PlayerEvent(MADE_BY_RELAY, conversation.conversation_id, conversation.summary())
    return tell_event(conversation.publisher, summary)
