"""Small messages shared by several streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from avatar_relay import messages as m
from avatar_relay.desk_settings import MAX_DESK_SETTINGS, MAX_VALUE_CHARACTERS
from avatar_relay.device_state import DeviceSettings, Part, Parts, PartState
from avatar_relay.limits import (
    MAX_CLOSED_CONVERSATIONS,
    MAX_ID_CHARACTERS,
    MAX_PARTS,
    MAX_SOFTWARE_CHARACTERS,
    MAX_TEXT_CHARACTERS,
    MAX_WORD_CHARACTERS,
)
from avatar_relay.media import Credit, Cursor
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.wire.converters import Converter, OneOf, at_most, cut_to, message, repeated, same
from avatar_relay.wire.faults import fault_from_status, fault_to_status
from avatar_relay.wire.media import media_from_wire, media_to_wire
from avatar_relay.wire.values import KIND_FROM_WIRE, KIND_TO_WIRE, PART_STATE_FROM_WIRE, PART_STATE_TO_WIRE, WireError, check_count, known

MAX_REVISION = 1 << 62
"""More changes than a device's lifetime allows; later revisions still fit into a message."""


def _check_volume(volume: pb.SetVolume) -> None:
    if not 0.0 <= volume.gain <= 1.0:
        raise WireError(Fault(Reason.VOLUME_INVALID, f"a gain of {volume.gain}; it must lie between 0 and 1", "volume.gain"))
    if volume.revision > MAX_REVISION:
        raise WireError(Fault(Reason.VOLUME_INVALID, f"a revision of {volume.revision}; at most 2^62 is allowed", "volume.revision"))


def _check_credit(credit: pb.Credit) -> None:
    if max(credit.audio_bytes, credit.motion_bytes) > 1 << 40:
        raise WireError(Fault(Reason.CREDIT_INVALID, "a grant of more than a tebibyte cannot be meant", "credit"))


def _kind_of(event: str) -> Converter[Any]:
    field = f"event.{event}.kind"
    return Converter(KIND_TO_WIRE.__getitem__, lambda value: known(KIND_FROM_WIRE, value, field, Reason.MESSAGE_INVALID))


CREDIT = message(Credit, pb.Credit, check=_check_credit)
CONVERSATION_ID = at_most(MAX_ID_CHARACTERS, "conversation_id")
CURSOR = message(Cursor, pb.Cursor, conversation_id=CONVERSATION_ID)
HELD = message(m.Held, pb.Held, cursors=repeated(CURSOR, MAX_CLOSED_CONVERSATIONS, "held.cursors"), device_id=cut_to(MAX_ID_CHARACTERS))
VOLUME = message(m.Volume, pb.SetVolume, check=_check_volume)
PART = message(
    Part,
    pb.Part,
    name=cut_to(MAX_WORD_CHARACTERS),
    state=Converter(PART_STATE_TO_WIRE.__getitem__, lambda value: PART_STATE_FROM_WIRE.get(value, PartState.UNSPECIFIED)),
    what=cut_to(MAX_SOFTWARE_CHARACTERS),
    reason=cut_to(MAX_TEXT_CHARACTERS),
    restart_reason=cut_to(MAX_TEXT_CHARACTERS),
)
PARTS = message(Parts, pb.Parts, parts=repeated(PART, MAX_PARTS, "parts"))


def _check_settings(settings: pb.DeviceSettings) -> None:
    if settings.revision > MAX_REVISION:
        text = f"a revision of {settings.revision}; at most 2^62 is allowed"
        raise WireError(Fault(Reason.SETTINGS_INVALID, text, "settings.revision"))
    names = [one.name for one in settings.settings]
    if len(set(names)) < len(names):
        raise WireError(Fault(Reason.SETTINGS_INVALID, "a setting is given twice", "settings.settings"))


def _named(kind: Any, value: str, most: int, field: str) -> Converter[tuple[tuple[str, str], ...]]:
    """Pairs of a name and a text."""

    def read(entries: Any) -> tuple[tuple[str, str], ...]:
        check_count(entries, MAX_DESK_SETTINGS, field)
        return tuple([(entry.name[:MAX_WORD_CHARACTERS], getattr(entry, value)[:most]) for entry in entries])

    return Converter(lambda pairs: [kind(**{"name": name, value: text}) for name, text in pairs], read)


SETTINGS = message(
    DeviceSettings,
    pb.DeviceSettings,
    check=_check_settings,
    values=replace(_named(pb.DeviceSetting, "value", MAX_VALUE_CHARACTERS + 1, "settings.settings"), wire_name="settings"),
    refused=_named(pb.RefusedSetting, "reason", MAX_TEXT_CHARACTERS, "settings.refused"),
)
PING = message(m.Ping, pb.Ping, ping_id=same("id"))
PONG = message(m.Pong, pb.Pong, ping_id=same("id"))
LIMITS = message(m.Limits, pb.Limits)
GOAWAY = message(m.GoAway, pb.GoAway, reason=cut_to(MAX_WORD_CHARACTERS), address=cut_to(MAX_TEXT_CHARACTERS))
ERROR = message(
    m.ConversationError,
    pb.ConversationError,
    conversation_id=cut_to(MAX_ID_CHARACTERS),
    fault=Converter(fault_to_status, fault_from_status, "status"),
    device_id=cut_to(MAX_ID_CHARACTERS),
)
REASON = cut_to(MAX_WORD_CHARACTERS)


def _of_conversation(plain: type[Any], protobuf: Callable[..., Any]) -> Converter[Any]:
    """A message that names a conversation, and may have numeric fields."""
    return message(plain, protobuf, conversation_id=CONVERSATION_ID)


EVENT_BODY: OneOf[m.PlayerEventBody] = OneOf(
    pb.PlayerEvent,
    "event",
    {
        m.Started: ("started", message(m.Started, pb.PlaybackStarted)),
        m.Finished: ("finished", message(m.Finished, pb.PlaybackFinished, reason=REASON)),
        m.Dropped: ("dropped", message(m.Dropped, pb.PayloadsDropped, kind=_kind_of("dropped"), reason=REASON)),
        m.Stalled: ("stalled", message(m.Stalled, pb.PlaybackStalled, kind=_kind_of("stalled"))),
        m.DurationMismatch: ("duration_mismatch", message(m.DurationMismatch, pb.DurationMismatch)),
        m.Paused: ("paused", message(m.Paused, pb.PlaybackPaused)),
        m.Resumed: ("resumed", message(m.Resumed, pb.PlaybackResumed)),
    },
)


def event_to_wire(event: m.PlayerEvent | m.UnknownEvent) -> pb.PlayerEvent:
    """Encode a player event."""
    if isinstance(event, m.UnknownEvent):
        return pb.PlayerEvent(event_id=event.event_id, device_id=event.device_id)
    body = EVENT_BODY.fields(event.body)
    return pb.PlayerEvent(event_id=event.event_id, conversation_id=event.conversation_id, device_id=event.device_id, **body)


def event_from_wire(event: pb.PlayerEvent) -> m.PlayerEvent | m.UnknownEvent:
    """Read a player event."""
    body = EVENT_BODY.from_wire(event)
    if body is None:
        return m.UnknownEvent(event.event_id, event.device_id[:MAX_ID_CHARACTERS])
    conversation_id = CONVERSATION_ID.from_wire(event.conversation_id)
    return m.PlayerEvent(event.event_id, conversation_id, body, event.device_id[:MAX_ID_CHARACTERS])


EVENT: Converter[Any] = Converter(event_to_wire, event_from_wire)

COMMANDS: dict[type, tuple[str, Converter[Any]]] = {
    m.Media: ("media", Converter(media_to_wire, media_from_wire)),
    m.AudioOnly: ("audio_only", _of_conversation(m.AudioOnly, pb.AudioOnly)),
    m.ConversationEnd: ("end", _of_conversation(m.ConversationEnd, pb.ConversationEnd)),
    m.Interrupt: ("interrupt", _of_conversation(m.Interrupt, pb.Interrupt)),
    m.Pause: ("pause", _of_conversation(m.Pause, pb.Pause)),
    m.Resume: ("resume", _of_conversation(m.Resume, pb.Resume)),
    m.EventAck: ("event_ack", message(m.EventAck, pb.EventAck, device_id=cut_to(MAX_ID_CHARACTERS))),
    m.Ping: ("ping", PING),
}
"""Messages from publishers to the relay, and from the relay to devices."""
