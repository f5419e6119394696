"""The session of one device. Pure.

Rules
- A session is ATTACHED while the device's stream is open, then AWAY until its lease ends.
- Conversations play in the order in which they were opened. One opened with REPLACE cuts all before it.
- A conversation is delivered until its `end` is sent, or until it is cut; then its finished event is awaited.
- Each conversation finishes exactly once: reported by the device, or by the relay if the device no longer can. A second event is ignored.
- Finished conversations leave a tombstone; the last `MAX_CLOSED_CONVERSATIONS` are kept.
- Media that was sent but is not held by the device is retained, within bounds of time and bytes. When the device reconnects
  with its token, it is resent from the device's cursor. If that is no longer possible, the conversation is lost.
- A device that reconnects without a valid token begins a new session, which keeps only conversations not yet announced to the device.
  If the token is another relay's, publishers may reopen its conversations from the device's cursor: see `adoption`.
- If the device brings no token and no cursors, and said nothing in its last session, it may have missed that session's welcome: the new
  session keeps all conversations, and sends them from their beginning, at most `MAX_SILENT_SESSIONS` times.
"""

from __future__ import annotations

import hmac
from collections import deque
from dataclasses import dataclass, replace

from avatar_relay.device_state import Part
from avatar_relay.limits import MAX_CLOSED_CONVERSATIONS, MAX_PAYLOAD_BYTES
from avatar_relay.media import ConversationOpen, Credit, Cursor, Kind, OnPlaying, Pacing
from avatar_relay.messages import (
    ConversationEnd,
    EventAck,
    Hello,
    Interrupt,
    Pause,
    Ping,
    PlayerEvent,
    Resume,
    Volume,
)
from avatar_relay.reasons import Fault, Reason
from relay_server.core.adoption import Adoption
from relay_server.core.congestion import CongestionWindow
from relay_server.core.delivery import Delivery, Retention
from relay_server.core.device_outbox import DeviceOutbox, MediaMessage, Outgoing
from relay_server.core.event_ledger import EventLedger, Tombstone
from relay_server.core.events import Effect, WakeDevice, WakeForMedia
from relay_server.core.narrow_link import ON_ITS_WAY_US, SOON_US, SOUND_AHEAD_US, drop_motion
from relay_server.core.payload_batch import PayloadBatch
from relay_server.core.settings_record import SettingsRecord
from relay_server.core.volume_record import VolumeRecord

MAX_SILENT_SESSIONS = 3
"""Successive sessions in which a device may say nothing until its conversations are lost: one of them may make it crash."""
NOBODY = ""
"""Owner of conversations and events without a publisher here; no publisher has this name."""


@dataclass(frozen=True, slots=True)
class Reattached:
    """The conversations of a session that resume, and those that are lost, when its device reconnects."""

    resumed: tuple[str, ...]
    lost: tuple[str, ...]


class Session:
    """A device's conversations and its outbox."""

    def __init__(self, hello: Hello, token: str, retention: Retention) -> None:
        self.device_id = hello.device_id
        self.hello = hello
        self.token = token
        self.attached = False
        self.confirmed = False
        """The device said something after the hello of its stream. A hello of a stream that it gave up may arrive late: nothing follows."""
        self.expires_at_us = 0
        """End of the lease while the device is away."""
        self.volume = VolumeRecord(hello.device_id)
        self.settings = SettingsRecord(hello.device_id)
        self.parts: tuple[Part, ...] = ()
        self.outbox = DeviceOutbox()
        self.flight = CongestionWindow()
        self.pinged_us = -1
        """When the last ping was queued."""
        self._pings = 0
        self.events = EventLedger()
        self.deliveries: dict[str, Delivery] = {}
        """By conversation id, in playing order."""
        self.closed: dict[str, Tombstone] = {}
        self.adoption = Adoption()
        self.silent = 1
        """Number of successive sessions, up to this one, in which the device said nothing after its hello; 0 if it did."""
        self.media_waits = WakeForMedia(self.device_id)
        self._retention = retention
        self._buffer = hello.buffer
        self.smallest_buffer = 0
        """A payload of any kind fits into the device's buffers if it has at most this many bytes."""

    # --- attaching -------------------------------------------------------------------------------------------------

    def proves(self, token: str) -> bool:
        """Whether `token` is this session's, or the one that it was adopted with. Compares in constant time."""
        known = [self.token] + ([self.adoption.token] if self.adoption.began else [])
        return bool(token) and any([hmac.compare_digest(token.encode(), mine.encode()) for mine in known])

    def inherit(self, before: Session) -> None:
        """Take over conversations of `before` unknown to the device, unless its codecs, motion encodings or buffers changed."""
        now, then = [(session.hello.codecs, session.hello.motion_encodings, session._buffer) for session in (self, before)]
        if now != then:
            return
        knows_nothing = 0 < before.silent <= MAX_SILENT_SESSIONS and not self.hello.session_token and not self.hello.cursors
        self.silent += before.silent if knows_nothing else 0
        for cid, delivery in list(before.deliveries.items()):
            is_new = not delivery.announced and not delivery.cut
            if not is_new and not (knows_nothing and delivery.covers(Cursor(cid))):
                continue
            self.deliveries[cid] = before.deliveries.pop(cid)
            if not is_new:
                delivery.announced, delivery.again = False, True
            if not delivery.cut:
                self.outbox.move_lane(cid, before.outbox)
                self._rewind(delivery, Cursor(cid))

    def attach(self, hello: Hello, now_us: int) -> Reattached:
        """Attach the device's new stream. The caller puts `welcome` first, then calls `replay`, and finishes the lost conversations."""
        self.hello = hello
        self.attached, self.confirmed = True, False
        self.silent = 0 if hello.session_token else self.silent
        self.parts = ()
        self._buffer = Credit(
            max(self._buffer.audio_bytes, hello.buffer.audio_bytes), max(self._buffer.motion_bytes, hello.buffer.motion_bytes)
        )
        self.smallest_buffer = min(self._buffer.audio_bytes, self._buffer.motion_bytes)
        self.outbox.reset(hello.buffer)
        self.flight = self.flight.next(now_us)
        cursors = {cursor.conversation_id: cursor for cursor in hello.cursors}
        resumed, lost = [], [cid for cid in cursors if cid not in self.deliveries and not self.adoption.holds(cid)]
        for cid, delivery in self.deliveries.items():
            delivery.bound(now_us, self._retention)
            if delivery.cut or not delivery.announced:
                continue
            if cid not in cursors and delivery.held != Cursor(cid):
                self._cut(delivery)  # the device has finished it, and its event will follow
            elif delivery.covers(cursors.get(cid, Cursor(cid))):
                self._rewind(delivery, cursors.get(cid, Cursor(cid)))
                resumed.append(cid)
            else:
                lost.append(cid)
        return Reattached(tuple(resumed), tuple(lost))

    def replay(self) -> None:
        """Resend the state of its conversations to a device that reconnected."""
        for cid, delivery in self.deliveries.items():
            if delivery.cut and delivery.again and not delivery.announced:  # known to the device or not, it will report its end
                self.outbox.put(replace(delivery.open, on_playing=OnPlaying.QUEUE))
            if delivery.cut:
                if not delivery.telling:
                    self.outbox.put(Interrupt(cid))
                continue
            self.outbox.put(delivery.open)
            if delivery.steered:
                self.outbox.put(Pause(cid) if delivery.paused else Resume(cid))

    def confirm(self) -> None:
        """Note that the device said something after its hello."""
        self.confirmed, self.silent = True, 0

    def detach(self, expires_at_us: int) -> None:
        """Detach the device, whose stream ended. The session lasts until `expires_at_us`."""
        self.attached = self.confirmed = False
        self.expires_at_us = expires_at_us
        self.outbox.reset(Credit())

    # --- what publishers do ----------------------------------------------------------------------------------------

    def refusal(self, open_: ConversationOpen, max_conversations: int) -> Fault | None:
        """Why this device cannot accept a conversation; None if it can."""
        audio = open_.audio_format.codec
        if audio not in self.hello.codecs:
            text = f"device {self.device_id} does not decode {audio.value}"
            return Fault(Reason.AUDIO_FORMAT_UNSUPPORTED, text, "open.audio_format.codec")
        if len(self.deliveries) >= max_conversations:
            text = f"{len(self.deliveries)} conversations play or wait on device {self.device_id}; wait for one to finish"
            return Fault(Reason.LIMIT_REACHED, text, "open")
        return None

    def motion_refusal(self, open_: ConversationOpen) -> Fault | None:
        """Why this device receives only the audio of a conversation; None if it receives everything."""
        motion = open_.motion_format
        if motion is None or motion.encoding in self.hello.motion_encodings:
            return None
        text = f"device {self.device_id} does not understand {motion.encoding.value}: it gets the sound only"
        return Fault(Reason.MOTION_FORMAT_UNSUPPORTED, text, "open.motion_format.encoding")

    def largest(self, conversation_id: str, kind: Kind) -> int:
        """The largest payload of a kind that this device can buffer, in bytes."""
        if kind is Kind.MOTION and self.deliveries[conversation_id].sound_only:
            return MAX_PAYLOAD_BYTES
        return self._buffer.audio_bytes if kind is Kind.AUDIO else self._buffer.motion_bytes

    def open(self, open_: ConversationOpen, publisher: str, *, again: bool = False) -> tuple[Delivery, ...]:
        """Open a conversation; returns the deliveries that it cuts. `again`: it was opened at another relay before."""
        replaced: tuple[Delivery, ...] = ()
        if open_.on_playing is OnPlaying.REPLACE:
            replaced = tuple(delivery for delivery in self.deliveries.values() if not delivery.cut)
            for earlier in replaced:
                self._cut(earlier)
        nothing = Cursor(open_.conversation_id)
        delivery = Delivery(self._playable(open_), publisher, held=nothing, again=again)
        self.deliveries[open_.conversation_id] = delivery
        self.outbox.add_lane(open_.conversation_id)
        if self.attached:
            self.outbox.put(delivery.open)
        return replaced

    def reopen(self, open_: ConversationOpen, publisher: str, held: Cursor) -> tuple[Delivery, ...] | None:
        """Continue a conversation that another relay began; None if the device cannot continue from `held`.

        Otherwise returns the deliveries that it cuts: none, unless the device does not know it and it is opened as a new one.

        If the device has already finished it, nothing more is sent and its finished event is awaited.
        """
        cid = open_.conversation_id
        mine = self.adoption.claim(cid)
        if mine is None and held == Cursor(cid) and not self.adoption.is_done(cid):
            return self.open(open_, publisher, again=True)
        if mine is None and not self.adoption.began:
            return None
        if mine is not None and self.motion_refusal(open_) is not None:
            mine = replace(mine, motion_seq=held.motion_seq)
        if mine is not None and (mine.audio_seq < held.audio_seq or mine.motion_seq < held.motion_seq):
            return None
        at = mine or held
        delivery = Delivery(self._playable(open_), publisher, held=at, announced=True, opened_at=at)
        self.deliveries[cid] = delivery
        self.outbox.add_lane(cid)
        if mine is None:
            self._cut(delivery)
            delivery.telling = True
        elif self.attached:
            self.outbox.put(delivery.open)
        return ()

    def spares(self, conversation_id: str, batch: PayloadBatch) -> int:
        """Count the leading entries that need not be sent: the device held them when the conversation was reopened, or they
        are motion and it receives audio only. 0 unless their kind is in `Delivery.spared_kinds`."""
        delivery = self.deliveries[conversation_id]
        if batch.kind is Kind.AUDIO or not delivery.sound_only:
            return batch.upto(delivery.skip_to[batch.kind])
        delivery.sent_seqs[Kind.MOTION] = batch.seqs[-1]
        return len(batch.seqs)

    def audio_only(self, conversation_id: str) -> None:
        """Mark that no more motion follows."""
        self.deliveries[conversation_id].audio_only = True
        self.outbox.put_audio_only(conversation_id)

    def end(self, end: ConversationEnd) -> None:
        """Mark that no more media follows."""
        delivery = self.deliveries[end.conversation_id]
        delivery.end = replace(end, last_motion_seq=0) if delivery.sound_only else end
        self.outbox.put_end(delivery.end)

    def interrupt(self, conversation_id: str) -> None:
        """Interrupt a conversation."""
        self._cut(self.deliveries[conversation_id])
        if self.attached:
            self.outbox.put(Interrupt(conversation_id))

    def cut_again(self) -> None:
        """Interrupt all cut conversations individually, after the device failed to open the one that replaces them."""
        for cid, delivery in self.deliveries.items():
            if delivery.cut and not delivery.telling:
                self.outbox.put(Interrupt(cid))

    def steer(self, message: Pause | Resume) -> None:
        """Pause or resume a conversation: it may have been paused at another relay."""
        delivery = self.deliveries[message.conversation_id]
        delivery.paused, delivery.steered = isinstance(message, Pause), True
        if self.attached:
            self.outbox.put(message)

    def set_volume(self, volume: Volume) -> list[Effect]:
        """Set the volume. It is pending until the device has stored it."""
        self.volume.set(volume)
        if self.attached:
            self.outbox.put(self.volume.volume)
        return [WakeDevice(self.device_id), self.volume.notice]

    def change_settings(self, changes: dict[str, str]) -> list[Effect]:
        """Change settings. They are pending until the device has stored or refused them."""
        self.settings.change(changes)
        if self.attached:
            self.outbox.put(self.settings.value)
        return [WakeDevice(self.device_id)]

    # --- what the device does --------------------------------------------------------------------------------------

    def take(self, now_us: int) -> Outgoing | None:
        """The next message for the device; None if nothing may be sent now."""
        flight, outbox = self.flight, self.outbox
        outbox.sound_ahead_us = SOUND_AHEAD_US if flight.is_narrow else 0
        message = outbox.take(flight.room)
        if isinstance(message, MediaMessage):
            cid, batches = message
            if flight.sent(self.deliveries[cid].retain(batches, now_us, self._retention)):
                self.ping(now_us)
        elif isinstance(message, Ping):
            flight.asked(message.ping_id, now_us)
        elif isinstance(message, ConversationOpen) and message.conversation_id in self.deliveries:
            self.deliveries[message.conversation_id].announced = True
        return message

    def ping(self, now_us: int) -> None:
        """Queue a ping: its pong proves that the device is alive and has received everything sent before."""
        self._pings += 1
        self.pinged_us = now_us
        self.outbox.put(Ping(self._pings, now_us))

    def yield_motion(self, now_us: int) -> tuple[str, list[PayloadBatch]]:
        """Drop motion in favour of audio if the link is narrow. Returns the conversation id and the dropped batches; "" and [] if none."""

        def drop(conversation_id: str, waiting: deque[PayloadBatch]) -> list[PayloadBatch]:
            delivery = self.deliveries[conversation_id]
            heard_us = delivery.playhead.at(now_us)
            way_us = ON_ITS_WAY_US if delivery.open.pacing is Pacing.BURST else 0
            return drop_motion(
                waiting, sent_seq=delivery.sent.motion_seq, late_before_us=heard_us + way_us, thin_before_us=heard_us + SOON_US
            )

        return self.outbox.drop_motion(drop) if self.flight.is_narrow else ("", [])

    def hold(self, cursor: Cursor) -> Delivery | None:
        """Record what the device holds of a conversation; None if the conversation is not in this session, or no longer."""
        delivery = self.deliveries.get(cursor.conversation_id)
        if delivery is not None:
            delivery.hold(cursor)
        return delivery

    def owner(self, conversation_id: str) -> str | None:
        """Publisher of a current or closed conversation on this device; None if unknown."""
        entry = self.deliveries.get(conversation_id) or self.closed.get(conversation_id)
        return entry.publisher if entry is not None else None

    def finish(self, conversation_id: str, event_id: int, reason: str) -> None:
        """Remove a finished conversation, leaving a tombstone."""
        delivery = self.deliveries.pop(conversation_id)
        self.outbox.remove_lane(conversation_id)
        own_id = delivery.open.conversation_id  # not the caller's equal string: one object is shared by all tables
        self.closed[own_id] = Tombstone(delivery.publisher, event_id, reason)
        if len(self.closed) > MAX_CLOSED_CONVERSATIONS:
            del self.closed[next(iter(self.closed))]

    def reason_again(self, event: PlayerEvent) -> str | None:
        """The reason reported with this finished event before; None if it does not repeat the one that finished its conversation."""
        tombstone = self.closed.get(event.conversation_id)
        return tombstone.reason if tombstone is not None and tombstone.event_id == event.event_id != 0 else None

    def acknowledge(self) -> None:
        """Queue an acknowledgement of the device's events, if the number has changed or the device repeated an event."""
        upto = self.events.due()
        if upto and self.attached:
            self.outbox.put(EventAck(upto))

    def give_up_adoption(self, now_us: int) -> tuple[str, ...] | None:
        """End the adoption when its time is over: the device plays out the media it holds of unclaimed conversations.

        Returns the conversations whose finished event never arrived; None before that time, and on later calls.
        """
        left = self.adoption.expire(now_us)
        if left is None:
            return None
        for cursor in left:
            cid = cursor.conversation_id
            self.closed[cid] = Tombstone(NOBODY, 0, "")
            if self.attached:
                self.outbox.put(ConversationEnd(cid, cursor.audio_seq, cursor.motion_seq) if cursor.audio_seq else Interrupt(cid))
        self.events.acknowledge(NOBODY)
        self.acknowledge()
        return tuple(cid for cid, delivery in self.deliveries.items() if delivery.telling)

    # --- within ----------------------------------------------------------------------------------------------------

    def _playable(self, open_: ConversationOpen) -> ConversationOpen:
        return open_ if self.motion_refusal(open_) is None else replace(open_, motion_format=None)

    def _cut(self, delivery: Delivery) -> None:
        delivery.cut = True
        delivery.let_go()
        self.outbox.remove_lane(delivery.open.conversation_id)

    def _rewind(self, delivery: Delivery, cursor: Cursor) -> None:
        self.hold(cursor)
        self.outbox.rewind(delivery.open.conversation_id, delivery.take_retained(), audio_only=delivery.audio_only, end=delivery.end)
