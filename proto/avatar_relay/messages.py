"""The messages of the streams as plain values: one class for each member of the wire's `oneof`s.

Directions: R→D relay to device, D→R device to relay, P→R publisher to relay, R→P relay to publisher.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from avatar_relay.device_state import DeviceSettings, Identify, Parts, Restart, Update
from avatar_relay.media import Codec, ConversationOpen, Credit, Cursor, EncodedMedia, Kind, MotionEncoding, Payload, PayloadColumns
from avatar_relay.reasons import Fault, FinishReason

# --- a conversation (R→D, P→R) -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Media:
    """Payloads of one conversation, at least one."""

    conversation_id: str
    payloads: tuple[Payload, ...]


class PublishedMedia(NamedTuple):
    """`Media` on its way through the relay: one run of payloads for each kind in it."""

    conversation_id: str
    columns: tuple[PayloadColumns, ...]
    one_by_one: Callable[[], Media]
    """The same, for callers that inspect each payload."""
    encoded: EncodedMedia | None = None
    """The same as bytes; None if it was not received on a wire."""


@dataclass(frozen=True, slots=True)
class ConversationEnd:
    """No more media; sent media plays out. Sequences are 0 on a stream typed by hand."""

    conversation_id: str
    last_audio_seq: int = 0
    last_motion_seq: int = 0


@dataclass(frozen=True, slots=True)
class AudioOnly:
    """From here on audio only."""

    conversation_id: str


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Clear, fade out, close."""

    conversation_id: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Pause; keep all data."""

    conversation_id: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Resume after a pause."""

    conversation_id: str


@dataclass(frozen=True, slots=True)
class Volume:
    """Linear gain 0 to 1, and a mute that keeps it. `revision` numbers a device's changes; 0: never set, or not numbered."""

    gain: float = 1.0
    muted: bool = False
    revision: int = 0


@dataclass(frozen=True, slots=True)
class ConversationError:
    """A fault that concerns one conversation; `device_id` is empty if the relay itself reports it."""

    conversation_id: str
    fault: Fault
    device_id: str = ""


# --- player events (D→R, R→P) --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The first sample was played."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Playback is over; exactly one per (conversation, device). `position_us` is the PTS of the last sample played."""

    position_us: int
    interrupted: bool
    reason: str

    def cut_short(self, why: FinishReason | None) -> Finished:
        """The event with the reason `why` instead of `completed`: the device played all that it had, and that was not all. None: it was."""
        return self if why is None or self.reason != FinishReason.COMPLETED else replace(self, reason=why.value)


@dataclass(frozen=True, slots=True)
class Dropped:
    """Payloads were not used; `reason` is a `reasons.DropReason` value."""

    kind: Kind
    payloads: int
    bytes: int
    reason: str
    count_id: int = 0
    """Identifies a count whose total is repeated on each new stream of a publisher; 0 if there is none."""
    total_payloads: int = 0
    total_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Stalled:
    """Playback ran out of data (True), or continues after that (False)."""

    stalled: bool
    kind: Kind


@dataclass(frozen=True, slots=True)
class DurationMismatch:
    """Audio and motion differ in length by more than a keyframe."""

    audio_us: int
    motion_us: int


@dataclass(frozen=True, slots=True)
class Paused:
    """Playback is paused."""

    position_us: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """Playback continues."""

    position_us: int


PlayerEventBody = Started | Finished | Dropped | Stalled | DurationMismatch | Paused | Resumed


@dataclass(frozen=True, slots=True)
class PlayerEvent:
    """An event of a player; `event_id` counts per device session from 1, `device_id` is filled in by the relay."""

    event_id: int
    conversation_id: str
    body: PlayerEventBody
    device_id: str = ""


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """A player event of an unknown kind: acknowledged and counted, otherwise its device would repeat it."""

    event_id: int
    device_id: str = ""


@dataclass(frozen=True, slots=True)
class EventAck:
    """All events of the device up to and including `event_id` arrived."""

    event_id: int
    device_id: str = ""


# --- both legs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """The cursor that a device holds."""

    cursors: tuple[Cursor, ...]
    device_id: str = ""


@dataclass(frozen=True, slots=True)
class Ping:
    """Heartbeat and clock probe; the sender's monotonic clock in µs."""

    ping_id: int
    sent_time_us: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Answers a ping; times of the answerer's clocks in µs."""

    ping_id: int
    ping_sent_time_us: int
    received_time_us: int
    sent_time_us: int
    sent_unix_time_us: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """The sender will end the stream."""

    reason: str
    retry_after_ms: int = 0
    address: str = ""
    """A relay that accepts the device now."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes and times that the relay guarantees."""

    max_payload_bytes: int
    max_message_bytes: int
    max_fragment_bytes: int
    lease_ms: int
    heartbeat_ms: int
    max_joined_requests: int = 0
    """Publishers: at most this many messages may travel as one `Joined`."""
    idle_heartbeat_ms: int = 0
    """Devices that are `slow_when_idle`: ping interval without a conversation; 0: as always."""


# --- devices -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """D→R, first. `buffer` is the first grant of credit."""

    device_id: str
    protocol_version: int
    software_version: str
    codecs: tuple[Codec, ...]
    output_rate_hz: int
    motion_encodings: tuple[MotionEncoding, ...]
    buffer: Credit
    session_token: str = ""
    cursors: tuple[Cursor, ...] = ()
    volume: Volume | None = None
    slow_when_idle: bool = False
    """Heartbeats may be rare without a conversation."""
    settings: DeviceSettings | None = None
    """Settings from operators; None from a device that supports none."""
    takes_joined: bool = False
    """Several messages may travel as one."""
    stream_number: int = 0
    """See `stream_numbers`."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """R→D, first."""

    session_token: str
    limits: Limits
    server_time_us: int
    server_unix_time_us: int
    resumed_conversation_ids: tuple[str, ...] = ()
    lost_conversation_ids: tuple[str, ...] = ()
    volume: Volume = field(default_factory=Volume)
    settings: DeviceSettings | None = None
    takes_joined: bool = False
    """Several messages may travel as one."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """D→R: the device leaves permanently."""

    reason: str


ToRelayFromDevice = (
    Hello | Credit | Held | PlayerEvent | UnknownEvent | Ping | Pong | Goodbye | ConversationError | Volume | DeviceSettings | Parts
)
ToDevice = (
    Welcome
    | DeviceSettings
    | Restart
    | Identify
    | Update
    | ConversationOpen
    | Media
    | AudioOnly
    | ConversationEnd
    | Interrupt
    | Pause
    | Resume
    | Volume
    | Ping
    | Pong
    | EventAck
    | ConversationError
    | GoAway
)

# --- publishers ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PublisherHello:
    """P→R, first; may be left out on a stream typed by hand."""

    publisher_id: str
    protocol_version: int
    software_version: str
    session_token: str = ""
    stream_number: int = 0
    """See `stream_numbers`."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The relay's progress in a conversation: complete payloads, bytes of the one after them, and received commands."""

    cursor: Cursor
    audio_bytes: int = 0
    motion_bytes: int = 0
    audio_only: bool = False
    ended: bool = False


@dataclass(frozen=True, slots=True)
class PublisherWelcome:
    """R→P: answers `PublisherHello`. `taken` lists the unfinished conversations of a publisher that reconnects."""

    session_token: str
    limits: Limits
    taken: tuple[Taken, ...] = ()


@dataclass(frozen=True, slots=True)
class PublishOpen:
    """P→R: opens a conversation on devices or groups; reopens it if `held` is set: the cursor that all these devices hold."""

    open: ConversationOpen
    targets: tuple[str, ...]
    held: Cursor | None = None
    is_part: bool = False
    """Other relays have devices of it, too. Sent between relays, never by a publisher."""


@dataclass(frozen=True, slots=True)
class Opened:
    """R→P: a conversation is open on these devices."""

    conversation_id: str
    device_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConversationCredit:
    """R→P: more bytes may be published for a conversation."""

    conversation_id: str
    credit: Credit


@dataclass(frozen=True, slots=True)
class DeviceVolume:
    """P→R: volume of a device."""

    device_id: str
    volume: Volume


FromPublisher = (
    PublisherHello | PublishOpen | Media | AudioOnly | ConversationEnd | Interrupt | Pause | Resume | DeviceVolume | EventAck | Ping
)
AtRelay = FromPublisher | PublishedMedia
"""A publisher's message as the relay processes it."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Waiting messages of a publisher that travel as one."""

    messages: tuple[FromPublisher, ...]


ToPublisher = PublisherWelcome | Opened | ConversationCredit | Held | PlayerEvent | UnknownEvent | ConversationError | GoAway | Pong
