"""A backend: real avatars on a real exchange; the stream's life is that of `avatar_relay.publisher.publisher`, step by step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

from avatar_relay.limits import PROTOCOL_VERSION
from avatar_relay.media import OnPlaying, Pacing, TraceContext
from avatar_relay.messages import Finished, PlayerEvent, PublisherHello, PublisherWelcome
from avatar_relay.publisher.avatar import Avatar
from avatar_relay.publisher.avatar_context import AvatarSettings
from avatar_relay.publisher.errors import ConversationFailedError
from avatar_relay.publisher.events import AvatarEvent
from avatar_relay.publisher.publisher_session import PublisherSession, Record
from relay_server.connections.relay import Relay
from tests.edge_client.playback_bench import JAW, PCM, motion_payload
from tests.races.legs import Leg
from tests.races.sounds import Sounds

DEVICE = "lobby"


class Backend:
    """One publisher with two avatars, one that replaces and one that queues. It is the `Studio` of both."""

    def __init__(self, name: str, sounds: Sounds, clock: Callable[[], int], targets: tuple[str, ...] = (DEVICE,)) -> None:
        self.name = name
        self.session = PublisherSession()
        self.buffer_bytes = 2 << 20
        self.now_us = clock
        self.leg: Leg | None = None
        self.said: list[str] = []
        """Conversations that it opened, in order."""
        self.said_by: dict[OnPlaying, set[str]] = defaultdict(set)
        self.interrupted: set[str] = set()
        """Those that were cut short here before their end was heard of."""
        self.finished: dict[str, list[Finished]] = defaultdict(list)
        """What its listeners were told of each conversation on the device."""
        self._sounds = sounds
        self._token = ""
        self._welcomed = False
        self._minted = ""
        self.avatars = {how: Avatar(self, AvatarSettings(targets, PCM, JAW, Pacing.BURST, how)) for how in OnPlaying}
        for avatar in self.avatars.values():
            avatar.subscribe(self._told)

    # --- Studio ----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """It may always speak: cuts are short."""

    def wake(self) -> None:
        """The schedule moves messages."""

    def mint_id(self) -> str:
        """The next id."""
        self._minted = self._sounds.begin()
        self.said.append(self._minted)
        return self._minted

    def trace(self, conversation_id: str) -> TraceContext:
        """None."""
        del conversation_id
        return TraceContext()

    # --- what it does ----------------------------------------------------------------------------------------------

    def speak(self, how: OnPlaying, payloads: int, *, end: bool) -> None:
        """A bit of sound, in a new conversation if none is open."""
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
        """A bit of motion for a conversation, which may be over long ago."""
        how = next(how for how, ids in self.said_by.items() if conversation_id in ids)
        weights = motion_payload([0.5]).data
        return self.avatars[how].yield_frames_data_nowait([weights], conversation_id)

    def end(self, how: OnPlaying) -> None:
        """No more of what it says."""
        with suppress(ConversationFailedError):
            self.avatars[how].end()

    def interrupt(self, how: OnPlaying) -> None:
        """Cut short what this avatar says and was to say."""
        records = [self.record(cid) for cid in self.said_by[how]]
        self.interrupted |= {record.conversation_id for record in records if record is not None and not record.is_over}
        self.avatars[how].interrupt()

    def hold(self, how: OnPlaying, *, paused: bool) -> None:
        """Pause or resume."""
        (self.avatars[how].pause if paused else self.avatars[how].resume)()

    def record(self, conversation_id: str) -> Record | None:
        """What the exchange knows."""
        return self.session.record(conversation_id)

    def _speaking(self, how: OnPlaying) -> str:
        """The conversation that takes sound; empty if the next sound opens one."""
        record = self.avatars[how]._speaking
        if record is None or record.stopped is not None or not record.conversation.takes_audio:
            return ""
        return record.conversation_id

    def _told(self, event: AvatarEvent) -> None:
        if isinstance(event, PlayerEvent) and isinstance(event.body, Finished) and event.device_id:
            self.finished[event.conversation_id].append(event.body)

    # --- its stream ------------------------------------------------------------------------------------------------

    def connect(self, relay: Relay) -> None:
        """A new stream: hello, and nothing else before the welcome."""
        self.leg = Leg(relay.connect_publisher())
        self._welcomed = False
        self.leg.up.append(PublisherHello(self.name, PROTOCOL_VERSION, "test", self._token))

    def notice(self) -> None:
        """The stream is gone."""
        if self.leg is not None and self._welcomed:
            self.session.cut()
        self.leg, self._welcomed = None, False

    def send(self, count: int) -> int:
        """Up to `count` messages leave; returns how many did."""
        if not self._welcomed or self.leg is None:
            return 0
        self.session.tick(self.now_us())
        for number in range(count):
            message = self.session.next_message()
            if message is None:
                return number
            self.leg.up.append(message)
        return count

    def hear(self) -> None:
        """The first message that is on its way arrives."""
        assert self.leg is not None
        message = self.leg.down.popleft()
        if not self._welcomed:
            assert isinstance(message, PublisherWelcome)
            if self._token:
                self.session.resumed(message.taken, self.now_us())
            self._token, self._welcomed = message.session_token, True
        else:
            self.session.handle(message, self.now_us())
