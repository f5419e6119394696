"""Random schedules of a relay, by seed, against a model of what must be heard.

The relay opens, feeds, ends, interrupts, pauses and resumes conversations over a network with jitter. Occasionally the sound
card stalls, or the link breaks: messages in transit are lost, and after a while the relay resends what the device does not
hold. The model knows what was sent; what must be heard of it follows from the `finished` events alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from avatar_relay.media import ConversationOpen, Kind, OnPlaying, Pacing, Payload
from avatar_relay.messages import ConversationEnd, Finished, Interrupt, Media, Pause, Resume
from edge_client.audio.concealment import LEAD_IN_US
from edge_client.audio.sink import Pcm
from edge_client.playback.engine import Message
from edge_client.playback.events import ConversationEvent, PlaybackConfig
from tests.edge_client.playback_bench import RATE_HZ, audio_payloads, find_media, open_
from tests.edge_client.simulation.world import PlainCard, World

STEPS = 24
PAYLOAD_FRAMES = 960
_WHAT = ("replace", "queue", "media", "end", "interrupt", "pause", "resume", "reconnect", "xrun")
_WEIGHTS = (0.08, 0.16, 0.32, 0.1, 0.06, 0.07, 0.09, 0.07, 0.05)


@dataclass
class Sent:
    """The relay's state of a conversation."""

    opened: ConversationOpen
    payloads: list[Payload] = field(default_factory=list)
    commands: list[Message] = field(default_factory=list)
    ended: bool = False
    interrupted: bool = False

    @cached_property
    def signal(self) -> Pcm:
        """Its sound: noise without zeros; no two are alike."""
        random = np.random.default_rng(int(self.opened.conversation_id))
        return random.integers(1, 30_000, 3 * RATE_HZ, np.int16)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The errors of a schedule; none are expected."""

    seed: int
    conversations: int
    reconnects: int
    samples: int
    """Samples of media that were heard."""
    gaps: int
    """Number of underruns."""
    faults: tuple[str, ...]


class Schedule:
    """One schedule."""

    def __init__(self, seed: int) -> None:
        self.world = World(PlainCard(), PlaybackConfig(decode_ahead_us=400_000))
        self.sent: dict[str, Sent] = {}
        self.reconnects = 0
        self.pts: list[tuple[str, int]] = []
        self._rng = np.random.default_rng(seed)
        self._link = 0
        self._last_us = 0

    def run(self) -> None:
        """Perform random steps, then finish everything."""
        for _ in range(STEPS):
            self._step(str(self._rng.choice(_WHAT, p=_WEIGHTS)))
            self._pass(int(self._rng.integers(0, 200_000)))
        self._pass(600_000)
        for conversation_id in self.sent:
            self._send(conversation_id, Resume(conversation_id))
            self._media(conversation_id, 1)
            self._end(conversation_id)
        frames = sum(len(sent.payloads) for sent in self.sent.values()) * PAYLOAD_FRAMES
        self._pass(frames * 1_000_000 // RATE_HZ + 2_000_000)

    def _step(self, what: str) -> None:
        ids = [conversation_id for conversation_id, sent in self.sent.items() if not sent.interrupted][-4:]
        chosen = str(self._rng.choice(ids)) if ids else ""
        if what in ("replace", "queue") or not ids:
            self._open(OnPlaying.REPLACE if what == "replace" else OnPlaying.QUEUE)
        elif what == "media":
            self._media(chosen, int(self._rng.integers(1, 20)))
        elif what == "end" and self.sent[chosen].payloads:
            self._end(chosen)
        elif what == "interrupt":
            self.sent[chosen].interrupted = True
            self._send(chosen, Interrupt(chosen))
        elif what == "pause":
            self._send(chosen, Pause(chosen))
        elif what == "resume":
            self._send(chosen, Resume(chosen))
        elif what == "reconnect":
            self._reconnect()
        elif what == "xrun":
            self.world.card.stand(self.world.now_us, int(self._rng.integers(5_000, 200_000)))

    def _open(self, on_playing: OnPlaying) -> None:
        conversation_id = str(len(self.sent))
        opened = open_(conversation_id, on_playing=on_playing, pacing=Pacing.BURST, motion=None)
        self.sent[conversation_id] = Sent(opened)
        self._arrive(opened)
        self._media(conversation_id, int(self._rng.integers(1, 12)))

    def _media(self, conversation_id: str, count: int) -> None:
        sent = self.sent[conversation_id]
        if sent.ended or sent.interrupted:
            return
        first = len(sent.payloads)
        new = audio_payloads(sent.signal)[first : first + count]
        sent.payloads.extend(new)
        for payload in new:
            self._arrive(Media(conversation_id, (payload,)))

    def _end(self, conversation_id: str) -> None:
        sent = self.sent[conversation_id]
        if not sent.ended and not sent.interrupted:
            sent.ended = True
            self._send(conversation_id, ConversationEnd(conversation_id, len(sent.payloads), 0))

    def _send(self, conversation_id: str, message: Message) -> None:
        self.sent[conversation_id].commands.append(message)
        self._arrive(message)

    def _arrive(self, message: Message) -> None:
        """Send over the current link, in order."""
        self._last_us = max(self._last_us, self.world.now_us + 10_000 + int(self._rng.integers(0, 80_000)))
        link = self._link
        self.world.at(self._last_us, lambda: self._deliver(message, link))

    def _deliver(self, message: Message, link: int) -> None:
        if link == self._link:
            self.world.playback.handle(message, self.world.now_us)

    def _reconnect(self) -> None:
        self.reconnects += 1
        self._link += 1
        self._pass(int(self._rng.integers(50_000, 500_000)))
        self.world.playback.buffer_credit()
        held = {cursor.conversation_id: cursor.audio_seq for cursor in self.world.playback.cursors()}
        over = {conversation_id for conversation_id, _ in self.finished()}
        for conversation_id, sent in self.sent.items():
            if conversation_id not in over:
                self._replay(sent, held.get(conversation_id, 0))

    def _replay(self, sent: Sent, held: int) -> None:
        self._arrive(sent.opened)
        for payload in sent.payloads[held:]:
            self._arrive(Media(sent.opened.conversation_id, (payload,)))
        for command in sent.commands:
            self._arrive(command)

    def _pass(self, duration_us: int) -> None:
        until_us = self.world.now_us + duration_us
        while self.world.now_us < until_us:
            self.world.run(min(until_us, self.world.now_us + 33_000))
            view = self.world.playback.view(self.world.now_us)
            if view.audible_pts_us is not None and view.conversation_id is not None:
                self.pts.append((view.conversation_id, view.audible_pts_us))

    def finished(self) -> list[tuple[str, Finished]]:
        """Ids of the conversations reported as finished, in order."""
        return [
            (output.conversation_id, output.body)
            for _, output in self.world.outputs
            if isinstance(output, ConversationEvent) and isinstance(output.body, Finished)
        ]


def judge(seed: int) -> Verdict:
    """Run a schedule and compare it with the model."""
    schedule = Schedule(seed)
    schedule.run()
    heard = np.concatenate(schedule.world.card.heard) if isinstance(schedule.world.card, PlainCard) else np.zeros(0, np.int16)
    told = schedule.finished()
    faults: list[str] = []
    if sorted(conversation_id for conversation_id, _ in told) != sorted(schedule.sent):
        faults.append(f"finished events: {[conversation_id for conversation_id, _ in told]} of {list(schedule.sent)}")
    as_opened = sorted(told, key=lambda ended: list(schedule.sent).index(ended[0]))
    samples = judge_sound({key: sent.signal for key, sent in schedule.sent.items()}, as_opened, heard, faults)
    _judge_lengths(schedule, told, len(heard) - samples, faults)
    _judge_pts(schedule.pts, faults)
    _judge_credit(schedule, faults)
    return Verdict(seed, len(schedule.sent), schedule.reconnects, samples, schedule.world.playback.summary().filled_gaps, tuple(faults))


def judge_sound(signals: Mapping[str, Pcm], told: Sequence[tuple[str, Finished]], heard: Pcm, faults: list[str]) -> int:
    """Check that the beginnings of conversations are heard, as long as their `finished` states, in that order, with filler in between.

    `told` is in the order in which they were opened. They may end in another one: if one is interrupted that waits in the queue, and the
    card has its first samples already, behind the last ones of the conversation before it.
    Returns how many of their samples were heard."""
    at = samples = 0
    for conversation_id, finished in told:
        frames = round(finished.position_us * RATE_HZ / 1e6)
        begin = at
        found, at = find_media(heard, signals[conversation_id][:frames], at)
        samples += found
        if found != frames:
            faults.append(f"of {conversation_id} {found} of {frames} samples were heard")
        faults += _stale(signals, heard[begin:at], conversation_id)
    return samples


def _stale(signals: Mapping[str, Pcm], stretch: Pcm, playing: str) -> list[str]:
    """Find sound of other conversations where only this one may be heard."""
    return [f"{other} is heard while {playing} plays" for other in signals if other != playing and _holds(stretch, signals[other])]


def _judge_lengths(schedule: Schedule, told: Sequence[tuple[str, Finished]], filler: int, faults: list[str]) -> None:
    """Check that a conversation that is not interrupted is heard whole, and nothing beyond its media but filler of declared gaps.

    A position is in whole microseconds: one more sample may be heard of each conversation that was interrupted."""
    for conversation_id, finished in told:
        frames, length = round(finished.position_us * RATE_HZ / 1e6), len(schedule.sent[conversation_id].payloads) * PAYLOAD_FRAMES
        if not finished.interrupted and frames != length:
            faults.append(f"{conversation_id} completed at {frames} of {length} samples")
    summary = schedule.world.playback.summary()
    lead_ins = summary.filled_gaps * LEAD_IN_US * RATE_HZ // 1_000_000
    allowed = round(summary.filled_seconds * RATE_HZ) + lead_ins + len(told)
    if filler > allowed:
        faults.append(f"{filler} samples of filler were heard, and {allowed} were made")


def _holds(stretch: Pcm, signal: Pcm) -> bool:
    """Whether it contains 24 of its samples in a row, counted from the start of any of its payloads."""
    if len(stretch) < 24:
        return False
    firsts = signal[::PAYLOAD_FRAMES]
    places = np.flatnonzero(np.isin(stretch[:-23], firsts))
    runs = {signal[start : start + 24].tobytes() for start in range(0, len(signal), PAYLOAD_FRAMES)}
    return any(stretch[place : place + 24].tobytes() in runs for place in places)


def _judge_pts(pts: Sequence[tuple[str, int]], faults: list[str]) -> None:
    seen: list[str] = []
    last = -1
    for conversation_id, pts_us in pts:
        if not seen or seen[-1] != conversation_id:
            if conversation_id in seen:
                faults.append(f"{conversation_id} is heard again")
            seen.append(conversation_id)
            last = -1
        if pts_us < last:
            faults.append(f"PTS of {conversation_id} goes back from {last} to {pts_us}")
        last = pts_us


def _judge_credit(schedule: Schedule, faults: list[str]) -> None:
    left = schedule.world.playback.buffer_credit()
    config = PlaybackConfig()
    if (left.audio_bytes, left.motion_bytes) != (config.audio_buffer_bytes, config.motion_buffer_bytes):
        faults.append(f"credit that is not given back: {Kind.AUDIO.value} {config.audio_buffer_bytes - left.audio_bytes} bytes")
