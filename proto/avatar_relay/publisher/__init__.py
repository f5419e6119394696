"""The publisher library: how a backend makes devices speak, with AvatarKit's verbs in snake_case.

async with Publisher.connect("127.0.0.1:52000") as publisher:
    avatar = publisher.avatar("lobby", audio_format=AudioFormat(Codec.PCM_S16LE, 16_000), motion_format=...)
    conversation_id = await avatar.yield_audio_data(pcm)
    await avatar.yield_frames_data(motion_payloads, conversation_id)
    await avatar.yield_audio_data(b"", end=True)
    finished = await avatar.finished(conversation_id)
"""

from avatar_relay.errors import FaultError
from avatar_relay.publisher.avatar import Avatar
from avatar_relay.publisher.errors import (
    BufferFullError,
    ConnectionLostError,
    ConversationFailedError,
    InvalidMediaError,
    PublisherClosedError,
    PublisherError,
    UnknownConversationError,
)
from avatar_relay.publisher.events import AvatarEvent, EventStream, StateChanged
from avatar_relay.publisher.playback_tracker import ConversationFinished, PlaybackState
from avatar_relay.publisher.publisher import Publisher
from avatar_relay.publisher.relay_link import Connector, RelayLink

__all__ = [
    "Avatar",
    "AvatarEvent",
    "BufferFullError",
    "ConnectionLostError",
    "Connector",
    "ConversationFailedError",
    "ConversationFinished",
    "EventStream",
    "FaultError",
    "InvalidMediaError",
    "PlaybackState",
    "Publisher",
    "PublisherClosedError",
    "PublisherError",
    "RelayLink",
    "StateChanged",
    "UnknownConversationError",
]
