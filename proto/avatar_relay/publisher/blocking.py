"""The publisher library for code without asyncio: the same verbs, each of which returns when it is done.

with BlockingPublisher.connect("127.0.0.1:52000") as publisher:
    avatar = publisher.avatar("lobby", audio_format=AudioFormat(Codec.PCM_S16LE, 16_000))
    conversation_id = avatar.yield_audio_data(pcm, end=True)
    print(avatar.finished(conversation_id, timeout_s=60))

Threads. One event loop runs on a daemon thread from `__enter__` to `__exit__`. All methods may be called from any other thread, also
concurrently; calls for one avatar take effect one after the other. Use one publisher per program: gRPC supports one asyncio loop per
process, so a program must not open several, nor one beside an asyncio loop that uses gRPC. Open it after `os.fork`.

Timeouts. `timeout_s` is in seconds; None waits forever. A verb that times out raises `TimeoutError`; its media accepted so far is kept, and
the rest is not sent. A KeyboardInterrupt during a verb has the same effect.

Errors are those of the asyncio verbs. A verb that waits while another thread leaves `with` raises `PublisherClosedError` or
`ConversationFailedError`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from avatar_relay.checks import BytesLike, FieldError, check_number
from avatar_relay.loop_thread import LoopThread
from avatar_relay.media import AudioFormat, ExpressionPreset, MotionFormat, OnPlaying, Pacing
from avatar_relay.publisher.avatar import Avatar
from avatar_relay.publisher.errors import PublisherClosedError
from avatar_relay.publisher.events import AvatarEvent
from avatar_relay.publisher.playback_tracker import ConversationFinished, PlaybackState
from avatar_relay.publisher.publisher import Publisher

if TYPE_CHECKING:
    import grpc

P = ParamSpec("P")
T = TypeVar("T")


class _Caller:
    """Runs work on the publisher's thread, and waits for it."""

    def __init__(self, name: str) -> None:
        self.thread = LoopThread(name)

    def wait(self, start: Callable[[], Coroutine[Any, Any, T]], timeout_s: float | None = None) -> T:
        """The coroutine's result. Raises what it raises, `TimeoutError`, and `PublisherClosedError` without a running loop.

        Raises `TypeError` or `ValueError` if the timeout is not a number of seconds: NaN would break all timers of the loop.
        """
        if timeout_s is not None and math.isnan(check_number(timeout_s, "timeout_s")):
            raise FieldError("timeout_s", "is not a number of seconds; None waits forever")
        if self.thread.is_current:
            raise RuntimeError("a blocking verb was called from a listener: it would wait for itself; call it from another thread")
        try:
            future = self.thread.submit(lambda: _within(timeout_s, start))
        except RuntimeError:
            raise PublisherClosedError("the publisher is not open: use it within `with`") from None
        try:
            return future.result()
        except CancelledError:
            raise PublisherClosedError("the publisher was closed by another thread") from None
        finally:
            future.cancel()  # has an effect if the wait was interrupted

    def call(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call a function that belongs to the event loop, and return its result."""

        async def call() -> T:
            return function(*arguments, **named)

        return self.wait(call)


class BlockingPublisher:
    """A `Publisher` on its own thread. Use as `with`, once."""

    def __init__(self, publisher: Publisher) -> None:
        """`publisher` must not have been opened; it belongs to this object from here on."""
        self._publisher = publisher
        self._caller = _Caller(f"publisher {publisher.publisher_id}")

    @classmethod
    def connect(
        cls,
        address: str | Sequence[str],
        *,
        publisher_id: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | Path | None = None,
    ) -> Self:
        """See `Publisher.connect`. Nothing is connected before `with`."""
        return cls(Publisher.connect(address, publisher_id=publisher_id, credentials=credentials, token=token))

    def __enter__(self) -> Self:
        """Connect. Raises `ConnectionLostError` if that does not succeed within the publisher's lease."""
        self._caller.thread.start()
        try:
            self._caller.wait(self._publisher.__aenter__)
        except BaseException:
            self._caller.thread.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End open conversations, wait up to 30 s until their data was sent, and close; after an exception close at once."""
        try:
            self._caller.wait(lambda: self._publisher.__aexit__(kind, error, trace))
        finally:
            self._caller.thread.close()

    def avatar(
        self,
        *targets: str,
        audio_format: AudioFormat,
        motion_format: MotionFormat | None = None,
        pacing: Pacing = Pacing.BURST,
        on_playing: OnPlaying = OnPlaying.REPLACE,
    ) -> BlockingAvatar:
        """See `Publisher.avatar`."""
        avatar = self._publisher.avatar(
            *targets, audio_format=audio_format, motion_format=motion_format, pacing=pacing, on_playing=on_playing
        )
        return BlockingAvatar(avatar, self._caller)

    def flush(self, *, timeout_s: float | None = None) -> None:
        """See `Publisher.flush`."""
        self._caller.wait(self._publisher.flush, timeout_s)

    @property
    def is_connected(self) -> bool:
        """Whether there is a stream to the relay now."""
        return self._publisher.is_connected


class BlockingAvatar:
    """An `Avatar` for threads. Created by `BlockingPublisher.avatar`."""

    def __init__(self, avatar: Avatar, caller: _Caller) -> None:
        self._avatar = avatar
        self._caller = caller

    def yield_audio_data(self, data: BytesLike, *, end: bool = False, timeout_s: float | None = None) -> str:
        """Hand over encoded audio; waits for room. Returns the conversation's id. See `Avatar.yield_audio_data`."""
        return self._caller.wait(lambda: self._avatar.yield_audio_data(data, end=end), timeout_s)

    def yield_frames_data(
        self,
        frames: Sequence[BytesLike],
        conversation_id: str,
        *,
        at_us: int | Sequence[int] | None = None,
        timeout_s: float | None = None,
    ) -> bool:
        """Hand over motion payloads; waits for room. See `Avatar.yield_frames_data`."""
        return self._caller.wait(lambda: self._avatar.yield_frames_data(frames, conversation_id, at_us=at_us), timeout_s)

    def end(self) -> str | None:
        """End audio and motion of the latest conversation. See `Avatar.end`."""
        return self._caller.call(self._avatar.end)

    def interrupt(self) -> None:
        """Interrupt and drop all current and queued conversations of this avatar."""
        self._caller.call(self._avatar.interrupt)

    def pause(self) -> None:
        """Pause the current conversation; all data is kept."""
        self._caller.call(self._avatar.pause)

    def resume(self) -> None:
        """Resume after a pause."""
        self._caller.call(self._avatar.resume)

    def set_volume(self, gain: float, *, muted: bool = False) -> None:
        """Set the volume of all devices: linear gain 0 to 1. See `Avatar.set_volume`."""
        self._caller.call(self._avatar.set_volume, gain, muted=muted)

    def set_expression(self, preset: ExpressionPreset | str, intensity: float = 1.0) -> None:
        """Set the mood of all conversations opened from now on. See `Avatar.set_expression`."""
        self._caller.call(self._avatar.set_expression, preset, intensity)

    @property
    def state(self) -> PlaybackState:
        """Idle, playing or paused, as last reported by the devices."""
        return self._avatar.state

    def audio_time(self) -> float:
        """Position in seconds within the current conversation, as last reported by a device."""
        return self._avatar.audio_time()

    def opened(self, conversation_id: str, *, timeout_s: float | None = None) -> tuple[str, ...]:
        """Wait until a conversation is open; returns its devices. See `Avatar.opened`."""
        return self._caller.wait(lambda: self._avatar.opened(conversation_id), timeout_s)

    def finished(self, conversation_id: str, *, timeout_s: float | None = None) -> ConversationFinished:
        """Wait until every device has finished a conversation. See `Avatar.finished`."""
        return self._caller.wait(lambda: self._avatar.finished(conversation_id), timeout_s)

    def subscribe(self, listener: Callable[[AvatarEvent], None]) -> Callable[[], None]:
        """Call `listener` with each event, on the publisher's thread. Returns a function that unsubscribes it, for other threads.

        It must not block; a blocking verb raises `RuntimeError` there.
        """
        unsubscribe = self._caller.call(self._avatar.subscribe, listener)
        return lambda: self._caller.call(unsubscribe)


async def _within(timeout_s: float | None, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async with asyncio.timeout(timeout_s):
        return await start()
