"""Records the history of a run, line by line, and checks the invariants that must hold afterwards.

A line is tab-separated: time (µs, monotonic), actor, event, conversation, kind, seq, detail. Events:
    sent        a publisher sent a payload; detail: its checksum
    stopped     a publisher interrupted the conversation, or it failed: payloads already sent may stay unplayed
    outcome     a publisher learned how it ended; detail: the reason
    yielded     a publisher was notified that motion payloads were dropped for a narrow link; their number replaces seq
    received    a device received a whole payload; detail: its checksum
    finished    a device ended it; detail: the reason
    killed      a device lost all its state (its program was killed); it may get a conversation once more from the first payload on
"""

from __future__ import annotations

import tempfile
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

MAX_TOLD = 20
"""Violations that are reported in full."""


class History:
    """Records lines for the duration of the `with` block; without a path, in a temporary file."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def __enter__(self) -> Self:
        mode, size = "w+", 1 << 20
        self._file = self._path.open(mode, size, "utf-8") if self._path else tempfile.TemporaryFile(mode, size, "utf-8")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def note(self, who: str, event: str, conversation_id: str = "", kind: str = "", seq: int = 0, detail: str = "") -> None:
        """One line."""
        self._file.write(f"{time.monotonic_ns() // 1000}\t{who}\t{event}\t{conversation_id}\t{kind}\t{seq}\t{detail}\n")

    def check(self) -> Verdict:
        """Check the lines recorded so far. Call it once everything is recorded."""
        self._file.seek(0)
        return check(self._file)


def checksum(data: bytes) -> str:
    """A payload's checksum, as recorded in the history."""
    return f"{zlib.crc32(data):08x}.{len(data)}"


@dataclass(slots=True)
class Verdict:
    """The result of a check. All counts except the first three and `yielded` should be 0."""

    conversations: int = 0
    payloads_sent: int = 0
    payloads_received: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    altered: int = 0
    never_sent: int = 0
    yielded: int = 0
    """Motion payloads dropped for a narrow link with a notice to the publisher; not counted as lost."""
    without_finished: int = 0
    finished_twice: int = 0
    cut_without_reason: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)

    @property
    def violations(self) -> int:
        """Number of broken guarantees."""
        broken = (self.lost, self.doubled, self.reordered, self.altered, self.never_sent, self.without_finished)
        return sum(broken) + self.finished_twice + self.cut_without_reason

    @property
    def figures(self) -> dict[str, Any]:
        """All counts by name, for JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def tell(self, text: str) -> None:
        """Record a violation as text."""
        if len(self.told) < MAX_TOLD:
            self.told.append(text)


@dataclass(slots=True)
class _Story:
    """One conversation, reconstructed from the lines."""

    sent: dict[tuple[str, int], str] = field(default_factory=dict)
    next_seq: dict[str, int] = field(default_factory=lambda: defaultdict(lambda: 1))
    """By kind."""
    received: Counter[str] = field(default_factory=Counter)
    """Payloads of each kind, since the last time that it began."""
    skipped: Counter[str] = field(default_factory=Counter)
    yielded: int = 0
    outcomes: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    stopped: bool = False
    device: str = ""
    killed: bool = False
    may_begin_again: set[str] = field(default_factory=set)
    """Kinds that may come once more from the first payload on: the device lost all that it held."""


def check(lines: Iterable[str]) -> Verdict:
    """Check the lines of a history against the guarantees."""
    verdict, stories, at_device = Verdict(), defaultdict[str, _Story](_Story), defaultdict[str, set[str]](set)
    for line in lines:
        _, who, event, cid, kind, seq, detail = line.rstrip("\n").split("\t")
        if event == "killed":
            for held in at_device[who]:
                stories[held].killed, stories[held].may_begin_again = True, {"audio", "motion"}
            continue
        story = stories[cid]
        match event:
            case "sent":
                story.sent[kind, int(seq)] = detail
                if not story.device:
                    story.device = who
                    at_device[who].add(cid)
            case "received":
                _received(verdict, story, cid, kind, int(seq), detail)
            case "yielded":
                story.yielded += int(seq)
                verdict.yielded += int(seq)
            case "outcome":
                story.outcomes.append(detail)
                at_device[story.device].discard(cid)
            case "finished":
                story.finished.append(detail)
            case "stopped":
                story.stopped = True
    for cid, story in stories.items():
        _judge(verdict, cid, story)
    return verdict


def _received(verdict: Verdict, story: _Story, cid: str, kind: str, seq: int, detail: str) -> None:
    verdict.payloads_received += 1
    if seq == 1 and kind in story.may_begin_again:
        story.may_begin_again.discard(kind)
        for figures in (story.next_seq, story.received, story.skipped):
            figures.pop(kind, None)
    story.received[kind] += 1
    expected = story.next_seq[kind]
    if seq < expected:
        verdict.doubled += 1
        verdict.tell(f"{cid} {kind} {seq} came again; {expected} was next")
    elif seq > expected and kind == "motion":
        story.skipped[kind] += seq - expected
    elif seq > expected:
        verdict.reordered += 1
        verdict.tell(f"{cid} {kind} {seq} came where {expected} was next")
    story.next_seq[kind] = max(seq + 1, expected)
    sent = story.sent.get((kind, seq))
    if sent is None:
        verdict.never_sent += 1
        verdict.tell(f"{cid} {kind} {seq} was never sent")
    elif sent != detail:
        verdict.altered += 1
        verdict.tell(f"{cid} {kind} {seq} was {sent} and came as {detail}")


def _judge(verdict: Verdict, cid: str, story: _Story) -> None:
    verdict.conversations += 1
    verdict.payloads_sent += len(story.sent)
    verdict.outcomes.update(story.outcomes or ["none"])
    if not story.outcomes:
        verdict.without_finished += 1
        verdict.tell(f"{cid} has no outcome")
    if len(story.outcomes) > 1 or len(story.finished) > 1:
        verdict.finished_twice += 1
        verdict.tell(f"{cid} ended more than once: {story.outcomes} {story.finished}")
    completed = story.outcomes[:1] == ["completed"]
    received = story.received.total()
    missing = len(story.sent) - received if completed else story.skipped.total()
    if missing > story.yielded:
        verdict.lost += missing - story.yielded
        verdict.tell(f"{cid}: {received} of {len(story.sent)} payloads came, {missing} are missing, {story.yielded} yielded")
    if story.outcomes and not completed and not story.stopped and not story.killed:
        verdict.cut_without_reason += 1
        verdict.tell(f"{cid} ended as {story.outcomes[0]}, though nobody stopped it and its device lived")
