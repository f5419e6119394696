"""A backend: real avatars on a real exchange. Its stream follows the life cycle of `avatar_relay.publisher.publisher` in steps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress

from avatar_relay.limits import PROTOCOL_VERSION
from avatar_relay.media import OnPlaying, Pacing, TraceContext
from avatar_relay.messages import Dropped, Finished, PlayerEvent, PublisherHello, PublisherWelcome
from avatar_relay.publisher.avatar import Avatar
from avatar_relay.publisher.avatar_context import AvatarSettings
from avatar_relay.publisher.conversation_record import Record
from avatar_relay.publisher.errors import ConversationFailedError
from avatar_relay.publisher.events import AvatarEvent
from avatar_relay.publisher.publisher_session import PublisherSession
from avatar_relay.reasons import DropReason
from avatar_relay.stream_numbers import StreamNumbers
from relay_server.connections.relay import Relay
from tests.edge_client.playback_bench import JAW, PCM, motion_payload
from tests.races.legs import Leg
from tests.races.sounds import Sounds

DEVICE = "lobby"


class Backend:
    """One publisher with two avatars, one that replaces and one that queues. Implements `Studio` for both."""

    def __init__(self, name: str, sounds: Sounds, clock: Callable[[], int], targets: tuple[str, ...] = (DEVICE,)) -> None:
        self.name = name
        self.session = PublisherSession()
        self.buffer_bytes = 2 << 20
        self.now_us = clock
        self.leg: Leg | None = None
        self.said: list[str] = []
        """Conversations opened, in order."""
        self.said_by: dict[OnPlaying, set[str]] = defaultdict(set)
        self.interrupted: set[str] = set()
        """Conversations interrupted here before their end was reported."""
        self.finished: dict[str, list[Finished]] = defaultdict(list)
        """The `finished` events that its listeners received, by conversation."""
        self.yielded: Counter[str] = Counter()
        """Motion payloads reported as dropped for a narrow link, by conversation."""
        self._sounds = sounds
        self._token = ""
        self._numbers = StreamNumbers(name.encode().rjust(4))
        self._welcomed = False
        self._minted = ""
        self.avatars = {how: Avatar(self, AvatarSettings(targets, PCM, JAW, Pacing.BURST, how)) for how in OnPlaying}
        for avatar in self.avatars.values():
            avatar.subscribe(self._told)

    # --- Studio ----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Always permit speech: stream cuts are short."""

    def wake(self) -> None:
        """Do nothing: the schedule moves messages."""

    def mint_id(self) -> str:
        """The next id."""
        self._minted = self._sounds.begin()
        self.said.append(self._minted)
        return self._minted

    def trace(self, conversation_id: str) -> TraceContext:
        """No trace context."""
        del conversation_id
        return TraceContext()

    # --- actions ---------------------------------------------------------------------------------------------------

    def speak(self, how: OnPlaying, payloads: int, *, end: bool) -> None:
        """Send some sound, in a new conversation if none is open."""
        for number in range(payloads):
            current = self._speaking(how)
            data = self._sounds.following(current) if current else self._sounds.first()
            try:
                conversation_id = self.avatars[how].yield_audio_data_nowait(data, end=end and number == payloads - 1)
            except ConversationFailedError:
                return
            self._sounds.took(conversation_id, data)
            self.said_by[how].add(conversation_id)

    def move(self, conversation_id: str) -> bool:
        """Send some motion for a conversation, which may have ended long ago."""
        how = next(how for how, ids in self.said_by.items() if conversation_id in ids)
        weights = motion_payload([0.5]).data
        return self.avatars[how].yield_frames_data_nowait([weights], conversation_id)

    def end(self, how: OnPlaying) -> None:
        """End the current conversation."""
        with suppress(ConversationFailedError):
            self.avatars[how].end()

    def interrupt(self, how: OnPlaying) -> None:
        """Interrupt this avatar's current and queued conversations."""
        records = [self.record(cid) for cid in self.said_by[how]]
        self.interrupted |= {record.conversation_id for record in records if record is not None and not record.is_over}
        self.avatars[how].interrupt()

    def hold(self, how: OnPlaying, *, paused: bool) -> None:
        """Pause or resume."""
        (self.avatars[how].pause if paused else self.avatars[how].resume)()

    def record(self, conversation_id: str) -> Record | None:
        """The exchange's record of a conversation."""
        return self.session.record(conversation_id)

    def _speaking(self, how: OnPlaying) -> str:
        """The conversation that accepts sound; empty if the next sound opens one."""
        record = self.avatars[how]._speaking
        if record is None or record.stopped is not None or not record.conversation.takes_audio:
            return ""
        return record.conversation_id

    def _told(self, event: AvatarEvent) -> None:
        if isinstance(event, PlayerEvent) and isinstance(event.body, Finished) and event.device_id:
            self.finished[event.conversation_id].append(event.body)
        elif isinstance(event, PlayerEvent) and isinstance(event.body, Dropped) and event.body.reason == DropReason.LINK_NARROW.value:
            self.yielded[event.conversation_id] += event.body.payloads

    # --- its stream ------------------------------------------------------------------------------------------------

    def connect(self, relay: Relay) -> None:
        """Open a new stream: send hello, and nothing else before the welcome."""
        self.leg = Leg(relay.connect_publisher())
        self._welcomed = False
        self.leg.up.append(PublisherHello(self.name, PROTOCOL_VERSION, "test", self._token, self._numbers.next()))

    def notice(self) -> None:
        """Notice that the stream is gone."""
        if self.leg is not None and self._welcomed:
            self.session.cut()
        self.leg, self._welcomed = None, False

    def send(self, count: int) -> int:
        """Send up to `count` messages; returns the number sent."""
        if not self._welcomed or self.leg is None:
            return 0
        self.session.tick(self.now_us())
        for number in range(count):
            message = self.session.next_message(self.now_us())
            if message is None:
                return number
            self.leg.up.append(message)
        return count

    def hear(self) -> None:
        """Receive the first message in flight."""
        assert self.leg is not None
        message = self.leg.down.popleft()
        if not self._welcomed:
            assert isinstance(message, PublisherWelcome)
            if self._token:
                self.session.resumed(message.taken, self.now_us())
            self._token, self._welcomed = message.session_token, True
        else:
            self.session.handle(message, self.now_us())
