"""The relay's end of a link, controlled by the test; and formats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from avatar_relay import avatarkit
from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.media import AudioFormat, Codec, Credit, Kind, MotionEncoding, MotionFormat, OnPlaying
from avatar_relay.messages import (
    ConversationCredit,
    Finished,
    FromPublisher,
    Joined,
    Limits,
    Media,
    Opened,
    Ping,
    PlayerEvent,
    PlayerEventBody,
    Pong,
    PublisherHello,
    PublisherWelcome,
    PublishOpen,
    Taken,
    ToPublisher,
)
from avatar_relay.publisher import Avatar, ConnectionLostError, Publisher

BROKEN = ConnectionLostError("the line broke")
PCM_100MS = bytes(3_200)
PCM_16K = AudioFormat(Codec.PCM_S16LE, 16_000)
AVATARKIT = MotionFormat(MotionEncoding.AVATARKIT_V2)
WEIGHTS_30 = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 30.0, ARKIT_NAMES)
LIMITS = Limits(2 << 20, 4 << 20, 16 << 10, 5_000, 0)
PLENTY = Credit(1 << 30, 1 << 30)

M = TypeVar("M")


def weights(rows: int, value: float = 0.5) -> bytes:
    """Rows of ARKit weights."""
    return np.full((rows, len(ARKIT_NAMES)), value, "<f4").tobytes()


class FakeLink:
    """A link whose other end is the test. `answer` may answer messages; `blocked` delays sends."""

    def __init__(self, answer: Callable[[FromPublisher], list[ToPublisher]]) -> None:
        self.said: list[FromPublisher] = []
        self.closed = False
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._answer = answer
        self._inbox: asyncio.Queue[ToPublisher | ConnectionLostError | None] = asyncio.Queue()
        self._arrived = asyncio.Event()
        self._heard = asyncio.Event()

    async def send(self, message: FromPublisher | Joined) -> None:
        await self.flowing.wait()
        for one in message.messages if isinstance(message, Joined) else (message,):
            self.said.append(one)
            for answer in self._answer(one):
                self._inbox.put_nowait(answer)
        self._arrived.set()
        await asyncio.sleep(0)

    async def receive(self) -> ToPublisher | None:
        self._heard.set()
        message = await self._inbox.get()
        if isinstance(message, ConnectionLostError):
            raise message
        return message

    async def close(self) -> None:
        self.closed = True

    def swallow(self) -> None:
        """Answer nothing from now on."""
        self._answer = lambda _: []

    def tell(self, message: ToPublisher | ConnectionLostError | None) -> None:
        """Send a message to the publisher; None ends the stream, an error breaks it."""
        self._inbox.put_nowait(message)

    def all(self, kind: type[M]) -> list[M]:
        """Return all messages of one kind sent so far."""
        return [message for message in self.said if isinstance(message, kind)]

    async def until_heard_all(self) -> None:
        """Wait until the publisher has processed everything sent to it."""
        while not self._inbox.empty():
            self._heard.clear()
            await self._heard.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the sent messages fulfil a condition."""
        while not condition():
            self._arrived.clear()
            await self._arrived.wait()

    async def until_said(self, kind: type[M], count: int = 1) -> M:
        """Wait for the `count`th message of a kind."""
        await self.until(lambda: len(self.all(kind)) >= count)
        return self.all(kind)[count - 1]


class FakeRelay:
    """Answers like a relay whose devices accept everything; each connect makes a new `FakeLink`.

    `credit` is granted on open. `token` is the known session; `refusals` are raised by the next connects, in order.
    """

    def __init__(self, *, credit: Credit = PLENTY, devices: tuple[str, ...] = ("lobby",), heartbeat_ms: int = 0) -> None:
        self.credit = credit
        self.devices = devices
        self.token = "session-1"
        self.taken: tuple[Taken, ...] = ()
        """Received payloads, as reported in the next welcome."""
        self.refusals: list[ConnectionLostError] = []
        self.links: list[FakeLink] = []
        self.refused = 0
        self.now_us = 0
        self._limits = Limits(2 << 20, 4 << 20, 16 << 10, 5_000, heartbeat_ms)
        self._connects = asyncio.Event()

    @property
    def link(self) -> FakeLink:
        """Return the latest link."""
        return self.links[-1]

    async def connect(self) -> FakeLink:
        if self.refusals:
            self.refused += 1
            self._connects.set()
            raise self.refusals.pop(0)
        self.links.append(FakeLink(self.answer))
        self._connects.set()
        return self.links[-1]

    async def until_connected(self, count: int) -> FakeLink:
        """Wait for the `count`th stream's hello."""
        while len(self.links) < count:
            self._connects.clear()
            await self._connects.wait()
        await self.link.until_said(PublisherHello)
        return self.link

    async def until_refused(self, count: int) -> None:
        """Wait until the given number of connects were refused."""
        while self.refused < count:
            self._connects.clear()
            await self._connects.wait()

    def answer(self, message: FromPublisher) -> list[ToPublisher]:
        """Return a relay's answer to a message."""
        match message:
            case PublisherHello():
                missed = [item.cursor.conversation_id for item in self.taken]
                again: list[ToPublisher] = [Opened(conversation_id, self.devices) for conversation_id in missed]
                again += [ConversationCredit(conversation_id, self.credit) for conversation_id in missed]
                return [PublisherWelcome(self.token, self._limits, self.taken), *again]
            case PublishOpen():
                conversation_id = message.open.conversation_id
                return [Opened(conversation_id, self.devices), ConversationCredit(conversation_id, self.credit)]
            case Ping(ping_id, sent_time_us):
                return [Pong(ping_id, sent_time_us, 0, 0, 0)]
            case _:
                return []

    def publisher(self, *, buffer_bytes: int = 2 << 20, media_tick_us: int = 0) -> Publisher:
        """A publisher connected to this relay, with a clock that is stopped unless `now_us` is advanced."""
        counter = iter(range(1, 1_000))
        return Publisher(
            self.connect,
            publisher_id="backend",
            buffer_bytes=buffer_bytes,
            media_tick_us=media_tick_us,
            random_bytes=lambda size: next(counter).to_bytes(size, "big"),
            jitter=lambda: 0.0,
            now_us=lambda: self.now_us,
        )


def payload_bytes(link: FakeLink, kind: Kind) -> bytes:
    """Return all bytes of a kind as sent."""
    return b"".join(payload.data for media in link.all(Media) for payload in media.payloads if payload.kind is kind)


def event(conversation_id: str, body: PlayerEventBody, event_id: int = 1, device_id: str = "lobby") -> PlayerEvent:
    """A player's event."""
    return PlayerEvent(event_id, conversation_id, body, device_id)


def completed(conversation_id: str, event_id: int = 1, device_id: str = "lobby", position_us: int = 100_000) -> PlayerEvent:
    """The finished event of a conversation played to its end."""
    return event(conversation_id, Finished(position_us, interrupted=False, reason="completed"), event_id, device_id)


def avatarkit_message(keyframes: int, *, end: bool = False) -> bytes:
    """A motion message as made by the Server SDK."""
    return avatarkit.write(avatarkit.AvatarKitMotion("connection", "req", end, "", np.zeros((keyframes, 120), np.float32)))


def avatarkit_avatar(publisher: Publisher, on_playing: OnPlaying = OnPlaying.REPLACE) -> Avatar:
    """An avatar with the usual formats."""
    return publisher.avatar("lobby", audio_format=PCM_16K, motion_format=AVATARKIT, on_playing=on_playing)
