"""A backend that publishes conversation after conversation to one device through the publisher library, and records the payloads sent."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat, OnPlaying, Pacing
from avatar_relay.messages import Dropped, PlayerEvent
from avatar_relay.publisher import AvatarEvent, ConnectionLostError, FaultError, Publisher
from avatar_relay.publisher.avatar import Avatar
from avatar_relay.reasons import DropReason
from tests.lab.history import History, checksum
from tests.lab.stamp import audio_payload, motion_payload, now_us

PAUSE_S = 0.02
CATCH_UP_S = 0.1
"""After a longer delay a speaker does not catch up with its schedule."""
AUDIO = AudioFormat(Codec.OPUS)


@dataclass(frozen=True, slots=True)
class Manner:
    """Configuration of a speaker."""

    payloads_per_s: float = 400.0
    """Payloads of each kind per second; 0: as fast as they are accepted."""
    shortest: int = 40
    longest: int = 1_200
    """Maximum number of payloads of each kind in a conversation."""
    interrupted_share: float = 0.1
    queued_share: float = 0.3
    """Share of conversations that are opened without waiting for the previous one to end."""
    finished_within_s: float = 90.0
    audio_bytes: tuple[int, int] = (16, 137)
    weights: int = 4
    """Weights per row of motion."""
    large_one_in: int = 400
    """One in this many motion payloads is so large that it is sent in three fragments."""

    @property
    def motion(self) -> MotionFormat:
        """The motion format, 50 rows per second."""
        return MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 50.0, tuple(f"weight{index}" for index in range(self.weights)))


class Speaker:
    """Publishes until stopped; `payloads` counts payloads sent, `failures` conversations that did not end in time."""

    def __init__(self, number: int, publisher: Publisher, device_id: str, history: History, chance: random.Random, manner: Manner) -> None:
        self._number = number
        self._publisher = publisher
        self._device_id = device_id
        self._history = history
        self._chance = chance
        self._manner = manner
        self._waiting: set[asyncio.Task[None]] = set()
        self._live: set[str] = set()
        self.payloads = 0
        self.failures = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Publish one conversation after another; returns once all have ended after `stop` is set. If cancelled, it notes nothing more."""
        avatar = self._publisher.avatar(
            self._device_id, audio_format=AUDIO, motion_format=self._manner.motion, on_playing=OnPlaying.QUEUE, pacing=Pacing.BURST
        )
        avatar.subscribe(self._note_yielded)
        try:
            while not stop.is_set():
                outcome = await self._one(avatar)
                if outcome is not None and self._chance.random() >= self._manner.queued_share:
                    await asyncio.gather(outcome, return_exceptions=True)
            await asyncio.gather(*self._waiting, return_exceptions=True)
        finally:
            for task in self._waiting:
                task.cancel()

    async def _one(self, avatar: Avatar) -> asyncio.Task[None] | None:
        manner, chance, due = self._manner, self._chance, time.monotonic()
        count = chance.randint(manner.shortest, manner.longest)
        cut_at = chance.randint(1, count) if chance.random() < manner.interrupted_share else 0
        cid, outcome = "", None
        try:
            for number in range(1, count + 1):
                data = audio_payload(self._number, self.payloads, now_us(), chance.randint(*manner.audio_bytes))
                following = await avatar.yield_audio_data(data)
                if following != cid:
                    cid = following
                    outcome = self._expect(avatar, cid)
                    seq = 0
                seq += 1
                self._history.note(self._device_id, "sent", cid, "audio", seq, checksum(data))
                row_bytes = 4 * manner.weights
                rows = 40_000 // row_bytes if chance.randrange(manner.large_one_in) == 0 else 1
                data = motion_payload(self._number, self.payloads, now_us(), rows * row_bytes)
                self._history.note(self._device_id, "sent", cid, "motion", seq, checksum(data))
                await avatar.yield_frames_data([data], cid)
                self.payloads += 2
                if number == cut_at:
                    for live in self._live:
                        self._history.note(self._device_id, "stopped", live)
                    avatar.interrupt()  # the current conversation and all queued ones
                    return outcome
                if manner.payloads_per_s and number % (step := max(1, int(manner.payloads_per_s / 50))) == 0:
                    due = max(due + step / manner.payloads_per_s, time.monotonic() - CATCH_UP_S)
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
            await avatar.yield_audio_data(b"", end=True)
            avatar.end()
        except FaultError:
            pass  # its outcome shows it
        except ConnectionLostError:
            await asyncio.sleep(PAUSE_S)
        return outcome

    def _note_yielded(self, event: AvatarEvent) -> None:
        match event:
            case PlayerEvent(conversation_id=cid, body=Dropped(payloads=count, reason=DropReason.LINK_NARROW)):
                self._history.note(self._device_id, "yielded", cid, "motion", count)

    def _expect(self, avatar: Avatar, cid: str) -> asyncio.Task[None]:
        self._live.add(cid)
        task = asyncio.create_task(self._hear(avatar, cid))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        return task

    async def _hear(self, avatar: Avatar, cid: str) -> None:
        try:
            async with asyncio.timeout(self._manner.finished_within_s):
                finished = await avatar.finished(cid)
            self._history.note(self._device_id, "outcome", cid, detail=finished.reason)
        except TimeoutError:
            self.failures += 1
        except FaultError as error:
            self._history.note(self._device_id, "outcome", cid, detail=f"failed:{error.fault.reason}")
        finally:
            self._live.discard(cid)
