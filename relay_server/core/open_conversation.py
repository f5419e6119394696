"""Opens conversations on devices, and cuts those that they replace. Pure.

Each target is accepted or refused individually: an unknown device, or one that cannot decode the audio, does not prevent the
others from playing. A device that does not support the motion encoding receives audio only, which is reported to the publisher once. A
conversation that no device accepts is closed at once, and its id cannot be reused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from avatar_relay.ids import ID_RULE, is_valid_id, mint_conversation_id
from avatar_relay.media import ConversationOpen, Credit, Cursor
from avatar_relay.messages import ConversationCredit, Finished, Opened, PublishOpen
from avatar_relay.reasons import Fault, FinishReason, Reason
from relay_server.config import GRANT_STEP_BYTES, RelayConfig
from relay_server.core.conversation import Conversation
from relay_server.core.delivery import Delivery
from relay_server.core.events import ConversationOpened, Effect, TellPublisher, WakeDevice
from relay_server.core.finishing import has_cut, report_fault
from relay_server.core.player_events import pass_on
from relay_server.core.registry import PublisherRecord, Registry
from relay_server.core.session import Session

PART_CREDIT_BYTES = 1 << 30
"""Credit beyond the window for a conversation that also has devices at other relays: the largest `lag_bytes`, which bounds it instead.
The publisher's relay paces it by the fastest of all devices."""
AGAIN_AFTER_MS = 100
"""Retry delay for a publisher that reconnected before its device."""


class ConversationOpener:
    """Opens conversations. `begin` may set another trace context in the `open` sent to the devices."""

    def __init__(
        self,
        registry: Registry,
        config: RelayConfig,
        *,
        random_bytes: Callable[[int], bytes],
        begin: Callable[[ConversationOpen], ConversationOpen],
    ) -> None:
        self._registry = registry
        self._config = config
        self._random_bytes = random_bytes
        self._begin = begin
        self.draining = False
        """If True, no conversation is opened."""

    def open(self, publisher: PublisherRecord, message: PublishOpen) -> list[Effect]:
        """Open a conversation on the targets that accept it. Sets `publisher.last_opened` even if there is none."""
        if message.held is not None:
            return self._again(publisher, message, message.held)
        conversation_id = message.open.conversation_id or mint_conversation_id(self._random_bytes)
        open_ = replace(message.open, conversation_id=conversation_id)
        publisher.last_opened = conversation_id
        fault = self._refusal(publisher, open_, message.targets)
        if fault is not None:
            if is_valid_id(conversation_id) and conversation_id not in self._registry.conversations:
                publisher.close(conversation_id)
            return report_fault(publisher.key, conversation_id, fault)
        sessions, effects = self._takers(publisher, open_, message.targets)
        if not sessions:
            publisher.close(conversation_id)
            return effects
        return effects + self._begin_on(sessions, publisher, self._begin(open_), is_part=message.is_part)

    def _again(self, publisher: PublisherRecord, message: PublishOpen, held: Cursor) -> list[Effect]:
        """Reopen another relay's conversation, on all of the targets or on none: a missing device may still reconnect."""
        open_, targets, is_part = message.open, message.targets, message.is_part
        conversation_id, effects = open_.conversation_id, list[Effect]()
        publisher.last_opened = conversation_id
        known = self._registry.conversations.get(conversation_id)
        if known is not None and known.publisher == publisher.key and conversation_id not in publisher.conversations:
            return self._back_too_late(publisher, known)
        fault = self._refusal(publisher, open_, targets)
        if fault is not None:
            return report_fault(publisher.key, conversation_id, fault)
        for target in targets:
            found = self._registry.resolve(target)
            if not found or not all([self._can_tell(session, conversation_id, held) for session in found]):
                text = f"device {target[:64]!r} has not come back yet"
                fault = Fault(Reason.DEVICE_UNKNOWN, text, "targets", AGAIN_AFTER_MS)
                effects += report_fault(publisher.key, conversation_id, fault, target[:64])
        if effects:
            return effects
        sessions = {session.device_id: session for target in targets for session in self._registry.resolve(target)}
        here = [one for one in sessions.values() if one.adoption.holds(conversation_id) or one.adoption.is_done(conversation_id)]
        if held == Cursor(conversation_id) and not here:
            sessions, effects = self._takers(publisher, open_, targets)
            return effects + (self._begin_on(sessions, publisher, self._begin(open_), is_part=is_part, again=True) if sessions else [])
        return self._go_on(publisher, open_, sessions, held, is_part=is_part)

    def _back_too_late(self, publisher: PublisherRecord, conversation: Conversation) -> list[Effect]:
        """The publisher was away for longer than its lease: what was received plays out, and the end will be reported to it."""
        conversation_id = conversation.conversation_id
        publisher.conversations.add(conversation_id)
        effects: list[Effect] = [TellPublisher(publisher.key, Opened(conversation_id, tuple(sorted(conversation.playing))))]
        if conversation.broken_off is None:
            return effects
        text = "it was ended when the publisher's lease expired; received media plays out"
        return effects + report_fault(publisher.key, conversation_id, Fault(Reason.PUBLISHER_LOST, text))

    def _can_tell(self, session: Session, conversation_id: str, held: Cursor) -> bool:
        """Whether a session can go on with a conversation, or knows that its device cannot: one that is away may be at another relay,
        also if a hello that it had given up arrives late."""
        return session.confirmed or held == Cursor(conversation_id) or session.adoption.holds(conversation_id)

    def _go_on(
        self, publisher: PublisherRecord, open_: ConversationOpen, sessions: dict[str, Session], held: Cursor, *, is_part: bool
    ) -> list[Effect]:
        replaced = {name: session.reopen(open_, publisher.key, held) for name, session in sessions.items()}
        takers = {name: session for name, session in sessions.items() if replaced[name] is not None}
        effects = self._register(takers, publisher, open_, held, is_part=is_part) if takers else []
        for name, session in sessions.items():
            if name not in takers:
                fault = Fault(Reason.DEVICE_LOST, f"device {name} holds no more of it", "targets")
                effects += report_fault(publisher.key, open_.conversation_id, fault, name)
            for delivery in replaced[name] or ():
                effects += self._replaced(session, delivery, publisher)
            for event, told_us in session.adoption.told(open_.conversation_id):
                effects += pass_on(self._registry, session, event, told_us)
        return effects

    def _register(
        self,
        sessions: dict[str, Session],
        publisher: PublisherRecord,
        open_: ConversationOpen,
        held: Cursor | None = None,
        *,
        is_part: bool,
    ) -> list[Effect]:
        """Register a conversation that is open on these sessions, and report it."""
        conversation_id, device_ids, step = open_.conversation_id, tuple(sessions), GRANT_STEP_BYTES
        window = self._config.window_bytes + (PART_CREDIT_BYTES if is_part else 0)
        conversation = Conversation(open_, publisher.key, device_ids, window=window, step=step, held=held, is_part=is_part)
        self._registry.conversations[conversation_id] = conversation
        publisher.conversations.add(conversation_id)
        for device_id, session in sessions.items():
            if conversation_id in session.deliveries and session.deliveries[conversation_id].cut:
                conversation.cut(device_id)
        effects: list[Effect] = [TellPublisher(publisher.key, Opened(conversation_id, device_ids))]
        if not publisher.by_hand:
            effects.append(TellPublisher(publisher.key, ConversationCredit(conversation_id, Credit(window, window))))
        effects.append(ConversationOpened(open_, publisher.key, device_ids))
        for device_id, session in sessions.items():
            if (fault := session.motion_refusal(open_)) is not None:
                effects += report_fault(publisher.key, conversation_id, fault, device_id)
        return effects + [WakeDevice(device_id) for device_id in device_ids]

    def _refusal(self, publisher: PublisherRecord, open_: ConversationOpen, targets: tuple[str, ...]) -> Fault | None:
        conversation_id = open_.conversation_id
        if self.draining:
            return Fault(Reason.DRAINING, "the relay is draining and opens no more conversations", "open", retry_after_ms=1_000)
        if not is_valid_id(conversation_id):
            return Fault(Reason.CONVERSATION_ID_INVALID, f"conversation_id must be {ID_RULE}", "open.conversation_id")
        if len(self._registry.conversations) >= self._config.max_conversations:
            text = f"{self._config.max_conversations} conversations are open already"
            return Fault(Reason.LIMIT_REACHED, text, "open", retry_after_ms=1_000)
        if publisher.owner and self._registry.conversations_of(publisher.owner) >= self._config.max_conversations_per_identity:
            text = f"{self._config.max_conversations_per_identity} conversations of {publisher.owner} are open already"
            return Fault(Reason.LIMIT_REACHED, text, "open", retry_after_ms=1_000)
        if not targets:
            return Fault(Reason.TARGETS_MISSING, "name at least one device or group", "targets")
        taken = conversation_id in self._registry.conversations or conversation_id in publisher.closed
        if taken or any(conversation_id in session.closed for target in targets for session in self._registry.resolve(target)):
            text = f"a conversation {conversation_id} exists or existed; a new one needs a new id"
            return Fault(Reason.CONVERSATION_ID_TAKEN, text, "open.conversation_id")
        return None

    def _takers(
        self, publisher: PublisherRecord, open_: ConversationOpen, targets: tuple[str, ...]
    ) -> tuple[dict[str, Session], list[Effect]]:
        """The sessions that accept it, and the faults of the targets that do not."""
        sessions: dict[str, Session] = {}
        effects: list[Effect] = []
        for target in targets:
            found = self._registry.resolve(target)
            if not found:
                text = f"no device or group of the name {target[:64]!r} is known here; ListDevices lists all"
                effects += report_fault(publisher.key, open_.conversation_id, Fault(Reason.DEVICE_UNKNOWN, text, "targets"))
            for session in found:
                refusal = session.refusal(open_, self._config.max_conversations_per_device)
                if refusal is None:
                    sessions[session.device_id] = session
                else:
                    effects += report_fault(publisher.key, open_.conversation_id, refusal, session.device_id)
        return sessions, effects

    def _begin_on(
        self, sessions: dict[str, Session], publisher: PublisherRecord, open_: ConversationOpen, *, is_part: bool, again: bool = False
    ) -> list[Effect]:
        effects = self._register(sessions, publisher, open_, is_part=is_part)
        for session in sessions.values():
            for replaced in session.open(open_, publisher.key, again=again):
                effects += self._replaced(session, replaced, publisher)
        return effects

    def _replaced(self, session: Session, replaced: Delivery, by: PublisherRecord) -> list[Effect]:
        """Report the takeover to another publisher. The relay finishes the conversation if the device cannot know it."""
        conversation_id = replaced.open.conversation_id
        effects: list[Effect] = []
        if replaced.publisher != by.key:
            text = f"another publisher opened a conversation on device {session.device_id}; the last opener wins"
            fault = Fault(Reason.CONVERSATION_TAKEN_OVER, text)
            effects += report_fault(replaced.publisher, conversation_id, fault, session.device_id)
        finished = Finished(0, interrupted=True, reason=FinishReason.REPLACED.value)
        return effects + has_cut(self._registry, conversation_id, session, finished)
