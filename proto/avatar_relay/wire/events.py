"""Player events."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from avatar_relay import messages as m
from avatar_relay.reasons import Reason
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.wire.values import KIND_FROM_WIRE, KIND_TO_WIRE, known


def event_to_wire(event: m.PlayerEvent) -> pb.PlayerEvent:
    """Encode a player event."""
    message = pb.PlayerEvent(event_id=event.event_id, conversation_id=event.conversation_id, device_id=event.device_id)
    body = event.body
    match body:
        case m.Started():
            message.started.SetInParent()
        case m.Finished():
            message.finished.SetInParent()
            message.finished.position_us = body.position_us
            message.finished.interrupted = body.interrupted
            message.finished.reason = body.reason
        case m.Dropped():
            message.dropped.kind = KIND_TO_WIRE[body.kind]
            message.dropped.payloads = body.payloads
            message.dropped.bytes = body.bytes
            message.dropped.reason = body.reason
        case m.Stalled():
            message.stalled.stalled = body.stalled
            message.stalled.kind = KIND_TO_WIRE[body.kind]
        case m.DurationMismatch():
            message.duration_mismatch.audio_us = body.audio_us
            message.duration_mismatch.motion_us = body.motion_us
        case m.Paused():
            message.paused.SetInParent()
            message.paused.position_us = body.position_us
        case m.Resumed():
            message.resumed.SetInParent()
            message.resumed.position_us = body.position_us
        case _:
            assert_never(body)
    return message


def event_from_wire(message: pb.PlayerEvent) -> m.PlayerEvent | None:
    """Read a player event; None for a kind of event that this version does not know."""
    name = message.WhichOneof("event")
    kind = Reason.MESSAGE_INVALID
    read: dict[str, Callable[[], m.PlayerEventBody]] = {
        "started": m.Started,
        "finished": lambda: m.Finished(message.finished.position_us, message.finished.interrupted, message.finished.reason),
        "dropped": lambda: m.Dropped(
            known(KIND_FROM_WIRE, message.dropped.kind, "event.dropped.kind", kind),
            message.dropped.payloads,
            message.dropped.bytes,
            message.dropped.reason,
        ),
        "stalled": lambda: m.Stalled(message.stalled.stalled, known(KIND_FROM_WIRE, message.stalled.kind, "event.stalled.kind", kind)),
        "duration_mismatch": lambda: m.DurationMismatch(message.duration_mismatch.audio_us, message.duration_mismatch.motion_us),
        "paused": lambda: m.Paused(message.paused.position_us),
        "resumed": lambda: m.Resumed(message.resumed.position_us),
    }
    if name is None or name not in read:
        return None
    return m.PlayerEvent(message.event_id, message.conversation_id, read[name](), message.device_id)
