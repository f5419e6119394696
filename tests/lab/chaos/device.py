"""Devices that write down all that comes: the client's real link, with a player that hears everything in no time."""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from avatar_relay import messages as m
from avatar_relay.fragments import FragmentError, Reassembler
from avatar_relay.limits import MAX_CLOSED_CONVERSATIONS
from avatar_relay.media import ConversationOpen, Credit, Cursor, Kind, OnPlaying
from avatar_relay.reasons import Fault, FinishReason, Reason
from edge_client.link.attach_call import Endpoint
from edge_client.link.device_link import DeviceLink, DeviceProfile, LinkClocks
from edge_client.link.report_outbox import Posted
from edge_client.playback.events import ConversationEvent
from tests.lab.chaos.history import History, checksum

BUFFER = Credit(256 << 10, 256 << 10)
CLOCKS = LinkClocks(lambda: time.monotonic_ns() // 1_000, lambda: time.time_ns() // 1_000)


@dataclass(slots=True)
class _Playing:
    opened: ConversationOpen
    seqs: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    parts: dict[Kind, Reassembler] = field(default_factory=lambda: {kind: Reassembler(kind) for kind in Kind})
    end: m.ConversationEnd | None = None

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.opened.conversation_id, self.seqs[Kind.AUDIO], self.seqs[Kind.MOTION])


class Ear:
    """A player that holds what comes until its end came too, and then has heard it."""

    def __init__(self, device_id: str, history: History) -> None:
        self.post: Callable[[Posted], None] = lambda message: None
        self.welcomes: list[int] = []
        """When the relay took us, µs."""
        self.fed_us = 0
        """When a whole payload came last."""
        self._who = device_id
        self._history = history
        self._playing: dict[str, _Playing] = {}
        self._closed: OrderedDict[str, None] = OrderedDict()

    def buffer_credit(self) -> Credit:
        """See `Player`."""
        for playing in self._playing.values():
            for part in playing.parts.values():
                part.reset()
        return BUFFER

    def cursors(self) -> tuple[Cursor, ...]:
        """See `Player`."""
        return tuple(playing.cursor for playing in self._playing.values())

    def handle(self, message: m.ToDevice, now_us: int) -> None:
        """See `Player`."""
        match message:
            case m.Welcome():
                self.welcomes.append(now_us)
                for cid in message.lost_conversation_ids:
                    if cid in self._playing:
                        self._finish(cid, FinishReason.FAILED)
            case ConversationOpen():
                self._open(message)
            case m.Media():
                self._media(message)
            case m.ConversationEnd() if message.conversation_id in self._playing:
                self._playing[message.conversation_id].end = message
                self._settle(message.conversation_id)
            case m.Interrupt():
                self._finish(message.conversation_id, FinishReason.INTERRUPTED)
            case _:
                pass

    def _open(self, message: ConversationOpen) -> None:
        cid = message.conversation_id
        if cid in self._closed:
            self.post(m.ConversationError(cid, Fault(Reason.CONVERSATION_CLOSED, "it is over", "open")))
        if cid in self._closed or cid in self._playing:
            return
        if message.on_playing is OnPlaying.REPLACE:
            for earlier in list(self._playing):
                self._finish(earlier, FinishReason.REPLACED)
        self._playing[cid] = _Playing(message)

    def _media(self, message: m.Media) -> None:
        cid = message.conversation_id
        playing = self._playing.get(cid)
        audio = motion = 0
        for payload in message.payloads:
            audio += len(payload.data) if payload.kind is Kind.AUDIO else 0
            motion += len(payload.data) if payload.kind is Kind.MOTION else 0
            if playing is None:
                continue
            try:
                whole = playing.parts[payload.kind].add(payload)
            except FragmentError as error:
                self._history.note(self._who, "received", cid, payload.kind.value, payload.seq, f"broken: {error.fault.reason}")
                continue
            if whole is not None:
                self.fed_us = CLOCKS.monotonic_us()
                self._history.note(self._who, "received", cid, payload.kind.value, payload.seq, checksum(whole.data))
                playing.seqs[payload.kind] = max(playing.seqs[payload.kind], payload.seq)
        self.post(Credit(audio, motion))
        if playing is not None:
            self.post(m.Held((playing.cursor,)))
            self._settle(cid)

    def _settle(self, cid: str) -> None:
        playing = self._playing[cid]
        if playing.end is not None and playing.seqs[Kind.AUDIO] == playing.end.last_audio_seq:  # motion may have yielded on its way
            self._finish(cid, FinishReason.COMPLETED)

    def _finish(self, cid: str, reason: FinishReason) -> None:
        known = cid in self._closed
        self._closed[cid] = None
        if len(self._closed) > MAX_CLOSED_CONVERSATIONS:
            self._closed.popitem(last=False)
        if self._playing.pop(cid, None) is not None or not known:
            self._history.note(self._who, "finished", cid, detail=reason.value)
            body = m.Finished(1, interrupted=reason is not FinishReason.COMPLETED, reason=reason.value)
            self.post(ConversationEvent(cid, body))


class Device:
    """A device that can be killed and started again."""

    def __init__(self, device_id: str, address: str, history: History, chance: random.Random) -> None:
        self.device_id = device_id
        self._address = address
        self._history = history
        self._chance = chance
        self._task: asyncio.Task[object] | None = None
        self.start()

    def start(self) -> None:
        """Switch it on; it knows nothing of before."""
        self.ear = Ear(self.device_id, self._history)
        profile = DeviceProfile(self.device_id, "chaos", 48_000)
        self.link = DeviceLink(
            endpoint=Endpoint(self._address), profile=profile, player=self.ear, clocks=CLOCKS, uniform=self._chance.random
        )
        self.ear.post = self.link.post
        self._task = asyncio.create_task(self.link.run(asyncio.Event()), name=self.device_id)

    async def kill(self) -> None:
        """Switch it off at the wall."""
        assert self._task is not None
        self._history.note(self.device_id, "killed")
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
