"""Small messages that several streams share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avatar_relay import messages as m
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.wire.media import media_from_wire
from avatar_relay.wire.values import WireError


def end_to_wire(end: m.ConversationEnd) -> pb.ConversationEnd:
    """Encode the end of a conversation."""
    return pb.ConversationEnd(conversation_id=end.conversation_id, last_audio_seq=end.last_audio_seq, last_motion_seq=end.last_motion_seq)


def _end_from_wire(message: pb.ConversationEnd) -> m.ConversationEnd:
    return m.ConversationEnd(message.conversation_id, message.last_audio_seq, message.last_motion_seq)


def volume_to_wire(volume: m.Volume) -> pb.SetVolume:
    """Encode a loudness."""
    return pb.SetVolume(gain=volume.gain, muted=volume.muted)


def volume_from_wire(message: pb.SetVolume) -> m.Volume:
    """Check and read a loudness."""
    if not 0.0 <= message.gain <= 1.0:
        raise WireError(Fault(Reason.VOLUME_INVALID, f"a gain of {message.gain}; it must lie between 0 and 1", "volume.gain"))
    return m.Volume(message.gain, message.muted)


def ping_to_wire(ping: m.Ping) -> pb.Ping:
    """Encode a ping."""
    return pb.Ping(id=ping.ping_id, sent_time_us=ping.sent_time_us)


def ping_from_wire(message: pb.Ping) -> m.Ping:
    """Read a ping."""
    return m.Ping(message.id, message.sent_time_us)


def pong_to_wire(pong: m.Pong) -> pb.Pong:
    """Encode a pong."""
    return pb.Pong(
        id=pong.ping_id,
        ping_sent_time_us=pong.ping_sent_time_us,
        received_time_us=pong.received_time_us,
        sent_time_us=pong.sent_time_us,
        sent_unix_time_us=pong.sent_unix_time_us,
    )


def pong_from_wire(message: pb.Pong) -> m.Pong:
    """Read a pong."""
    return m.Pong(message.id, message.ping_sent_time_us, message.received_time_us, message.sent_time_us, message.sent_unix_time_us)


def limits_to_wire(limits: m.Limits) -> pb.Limits:
    """Encode what the relay keeps to."""
    return pb.Limits(
        max_payload_bytes=limits.max_payload_bytes,
        max_message_bytes=limits.max_message_bytes,
        max_fragment_bytes=limits.max_fragment_bytes,
        lease_ms=limits.lease_ms,
        heartbeat_ms=limits.heartbeat_ms,
        max_joined_requests=limits.max_joined_requests,
    )


def limits_from_wire(message: pb.Limits) -> m.Limits:
    """Read what the relay keeps to."""
    return m.Limits(
        message.max_payload_bytes,
        message.max_message_bytes,
        message.max_fragment_bytes,
        message.lease_ms,
        message.heartbeat_ms,
        message.max_joined_requests,
    )


COMMANDS_FROM_WIRE: dict[str, Callable[[Any], Any]] = {
    "media": media_from_wire,
    "audio_only": lambda message: m.AudioOnly(message.conversation_id),
    "end": _end_from_wire,
    "interrupt": lambda message: m.Interrupt(message.conversation_id),
    "pause": lambda message: m.Pause(message.conversation_id),
    "resume": lambda message: m.Resume(message.conversation_id),
    "event_ack": lambda message: m.EventAck(message.event_id, message.device_id),
    "ping": ping_from_wire,
}
"""What relay and publisher both say of a conversation, by its name in the `oneof`s."""
