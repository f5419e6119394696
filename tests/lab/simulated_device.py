"""A simulated device: the edge client's real link, and a player that plays everything instantly and records it."""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from avatar_relay import messages as m
from avatar_relay.client_credentials import Credentials
from avatar_relay.device_state import DeviceSettings
from avatar_relay.fragments import FragmentError, Reassembler
from avatar_relay.limits import MAX_CLOSED_CONVERSATIONS
from avatar_relay.media import ConversationOpen, Credit, Cursor, Kind, OnPlaying
from avatar_relay.reasons import Fault, FinishReason, Reason
from edge_client.link.attach_call import Endpoint
from edge_client.link.device_link import DeviceLink, DeviceProfile, LinkClocks
from edge_client.link.report_outbox import Posted
from edge_client.playback.events import ConversationEvent
from tests.lab.history import History, checksum
from tests.lab.stamp import now_us

BUFFER = Credit(256 << 10, 256 << 10)
CLOCKS = LinkClocks(now_us, lambda: time.time_ns() // 1_000)


@dataclass(slots=True)
class _Playing:
    opened: ConversationOpen
    seqs: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    parts: dict[Kind, Reassembler] = field(default_factory=lambda: {kind: Reassembler(kind) for kind in Kind})
    end: m.ConversationEnd | None = None

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.opened.conversation_id, self.seqs[Kind.AUDIO], self.seqs[Kind.MOTION])


@dataclass(slots=True)
class Counts:
    """Counts of data received by a player."""

    payloads: int = 0
    bytes: int = 0
    messages: int = 0
    attached: int = 0
    resumed: int = 0
    lost_conversations: int = 0
    finished: int = 0


class InstantPlayer:
    """Buffers a conversation until its end was received, then reports all of it as played.

    `on_payload` is called with each whole payload.
    """

    def __init__(self, device_id: str, history: History, on_payload: Callable[[bytes], None]) -> None:
        self.post: Callable[[Posted], None] = lambda message: None
        self.welcomes: list[int] = []
        """Times of the relay's welcomes, in µs."""
        self.fed_us = 0
        """Time of the last whole payload, in µs."""
        self.counts = Counts()
        self._device_id = device_id
        self._history = history
        self._on_payload = on_payload
        self._playing: dict[str, _Playing] = {}
        self._closed: OrderedDict[str, None] = OrderedDict()

    volume = m.Volume()
    """See `MessageHandler`. It is not stored."""
    settings: DeviceSettings | None = DeviceSettings()
    """See `MessageHandler`. They are stored immediately."""

    def buffer_credit(self) -> Credit:
        """See `MessageHandler`."""
        for playing in self._playing.values():
            for part in playing.parts.values():
                part.reset()
        return BUFFER

    def cursors(self) -> tuple[Cursor, ...]:
        """See `MessageHandler`."""
        return tuple(playing.cursor for playing in self._playing.values())

    def handle(self, message: m.ToDevice, now_us: int) -> None:
        """See `MessageHandler`."""
        match message:
            case m.Welcome():
                self.welcomes.append(now_us)
                self.counts.attached += 1
                self.counts.resumed += len(message.resumed_conversation_ids)
                self.counts.lost_conversations += len(message.lost_conversation_ids)
                for cid in message.lost_conversation_ids:
                    if cid in self._playing:
                        self._finish(cid, FinishReason.FAILED)
                if message.settings is not None and message.settings.revision:
                    self._store(message.settings)
            case DeviceSettings():
                self._store(message)
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

    def _store(self, settings: DeviceSettings) -> None:
        self.settings = settings
        self.post(settings)

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
        self.counts.messages += 1
        for payload in message.payloads:
            audio += len(payload.data) if payload.kind is Kind.AUDIO else 0
            motion += len(payload.data) if payload.kind is Kind.MOTION else 0
            if playing is None:
                continue
            try:
                whole = playing.parts[payload.kind].add(payload)
            except FragmentError as error:
                self._history.note(self._device_id, "received", cid, payload.kind.value, payload.seq, f"broken: {error.fault.reason}")
                continue
            if whole is not None:
                self.fed_us = CLOCKS.monotonic_us()
                self.counts.payloads += 1
                self.counts.bytes += len(whole.data)
                self._on_payload(whole.data)
                self._history.note(self._device_id, "received", cid, payload.kind.value, payload.seq, checksum(whole.data))
                playing.seqs[payload.kind] = max(playing.seqs[payload.kind], payload.seq)
        self.post(Credit(audio, motion))
        if playing is not None:
            self.post(m.Held((playing.cursor,)))
            self._settle(cid)

    def _settle(self, cid: str) -> None:
        playing = self._playing[cid]
        if playing.end is not None and playing.seqs[Kind.AUDIO] == playing.end.last_audio_seq:  # motion may have been dropped on the way
            self._finish(cid, FinishReason.COMPLETED)

    def _finish(self, cid: str, reason: FinishReason) -> None:
        known = cid in self._closed
        self._closed[cid] = None
        if len(self._closed) > MAX_CLOSED_CONVERSATIONS:
            self._closed.popitem(last=False)
        if self._playing.pop(cid, None) is not None or not known:
            self.counts.finished += 1
            self._history.note(self._device_id, "finished", cid, detail=reason.value)
            body = m.Finished(1, interrupted=reason is not FinishReason.COMPLETED, reason=reason.value)
            self.post(ConversationEvent(cid, body))


class SimulatedDevice:
    """A device that can be power-cycled."""

    def __init__(
        self,
        device_id: str,
        address: str,
        history: History,
        chance: random.Random,
        *,
        on_payload: Callable[[bytes], None] = lambda data: None,
        credentials: Callable[[], Credentials] = Credentials,
        others: tuple[str, ...] = (),
    ) -> None:
        self._others = others
        self.device_id = device_id
        self._credentials = credentials
        self._address = address
        self._history = history
        self._chance = chance
        self._on_payload = on_payload
        self._task: asyncio.Task[object] | None = None
        self.start()

    def start(self) -> None:
        """Switch it on, without any earlier state."""
        self.player = InstantPlayer(self.device_id, self._history, self._on_payload)
        tls = self._credentials().root_certificates is not None
        self.link = DeviceLink(
            endpoint=Endpoint(self._address, tls, self._credentials, self._others),
            profile=DeviceProfile(self.device_id, "simulated", 48_000),
            player=self.player,
            clocks=CLOCKS,
            uniform=self._chance.random,
        )
        self.player.post = self.link.post
        self._task = asyncio.create_task(self.link.run(asyncio.Event()), name=self.device_id)

    async def kill(self) -> None:
        """Switch it off: the stream breaks, and its state is lost."""
        assert self._task is not None
        self._history.note(self.device_id, "killed")
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def until_attached(devices: list[SimulatedDevice], streams: int = 1) -> None:
    """Wait until each device had `streams` streams. Raises `TimeoutError`."""
    async with asyncio.timeout(60):
        while any(len(device.player.welcomes) < streams for device in devices):  # noqa: ASYNC110 - the link notifies nobody
            await asyncio.sleep(0.02)
