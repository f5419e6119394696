"""A backend that speaks without end to one device, through the publisher library, and writes down what it says."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from avatar_relay.media import OnPlaying
from avatar_relay.messages import Dropped, PlayerEvent
from avatar_relay.publisher import AvatarEvent, ConnectionLostError, FaultError, Publisher
from avatar_relay.publisher.avatar import Avatar
from avatar_relay.reasons import DropReason
from tests.lab.chaos import payloads
from tests.lab.chaos.history import History, checksum

PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Manner:
    """How a speaker speaks."""

    payloads_per_s: float = 400.0
    """Of each kind; 0 for as fast as they are taken."""
    shortest: int = 40
    longest: int = 1_200
    """Payloads of a kind in a conversation."""
    interrupted_share: float = 0.1
    queued_share: float = 0.3
    """Conversations that follow the last one at once, without waiting for its end."""
    finished_within_s: float = 90.0


class Speaker:
    """Speaks until cancelled; `open_outcomes` are conversations whose end is still to be heard of."""

    def __init__(self, publisher: Publisher, device_id: str, history: History, chance: random.Random, manner: Manner) -> None:
        self._publisher = publisher
        self._device_id = device_id
        self._history = history
        self._chance = chance
        self._manner = manner
        self._waiting: set[asyncio.Task[None]] = set()
        self._live: set[str] = set()
        self.payloads = 0

    async def run(self, stop: asyncio.Event) -> None:
        """One conversation after the other; returns when all have ended after `stop`."""
        avatar = self._publisher.avatar(
            self._device_id, audio_format=payloads.AUDIO, motion_format=payloads.MOTION, on_playing=OnPlaying.QUEUE
        )
        avatar.subscribe(self._note_yielded)
        while not stop.is_set():
            outcome = await self._one(avatar)
            if outcome is not None and self._chance.random() >= self._manner.queued_share:
                await asyncio.gather(outcome, return_exceptions=True)
        await asyncio.gather(*self._waiting, return_exceptions=True)

    async def _one(self, avatar: Avatar) -> asyncio.Task[None] | None:
        manner, chance = self._manner, self._chance
        count = chance.randint(manner.shortest, manner.longest)
        cut_at = chance.randint(1, count) if chance.random() < manner.interrupted_share else 0
        cid, outcome = "", None
        try:
            for number in range(1, count + 1):
                key = f"{self._device_id}.{self.payloads}"
                data = payloads.audio(key, number)
                following = await avatar.yield_audio_data(data)
                if following != cid:
                    cid = following
                    outcome = self._expect(avatar, cid)
                    seq = 0
                seq += 1
                self._history.note(self._device_id, "sent", cid, "audio", seq, checksum(data))
                data = payloads.motion(key, number)
                self._history.note(self._device_id, "sent", cid, "motion", seq, checksum(data))
                await avatar.yield_frames_data([data], cid)
                self.payloads += 2
                if number == cut_at:
                    for live in self._live:
                        self._history.note(self._device_id, "stopped", live)
                    avatar.interrupt()  # all that it says or was to say
                    return outcome
                if manner.payloads_per_s and number % 10 == 0:
                    await asyncio.sleep(10 / manner.payloads_per_s)
            await avatar.yield_audio_data(b"", end=True)
            avatar.end()
        except FaultError:
            pass  # its outcome tells
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
            return
        except FaultError as error:
            self._history.note(self._device_id, "outcome", cid, detail=f"failed:{error.fault.reason}")
        finally:
            self._live.discard(cid)
