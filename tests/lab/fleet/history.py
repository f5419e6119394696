"""Compares what was published with what devices got: nothing lost, nothing doubled, nothing out of order, every byte the same.

A track is one kind of one conversation on one device. Bytes are compared by a running checksum of all payloads in order.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from avatar_relay.media import Kind


class TrackKey(NamedTuple):
    """Which track."""

    device_id: str
    conversation_id: str
    kind: Kind


@dataclass(slots=True)
class Track:
    """What came of one track."""

    last_seq: int = 0
    reached: int = 0
    """Bytes of the payload after `last_seq` that came in fragments."""
    checksum: int = 0
    checksum_of_whole: int = 0
    """Of the payloads up to `last_seq`."""
    doubled: int = 0
    reordered: int = 0

    def forget_fragments(self) -> None:
        """What came of an incomplete payload comes again."""
        self.reached, self.checksum = 0, self.checksum_of_whole


@dataclass(slots=True)
class Said:
    """What was published of one track."""

    payloads: int = 0
    checksum: int = 0


@dataclass(slots=True)
class Findings:
    """What is wrong; all zero where nothing is."""

    payloads: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    altered: int = 0
    """Tracks whose bytes differ, although all payloads came."""
    unfinished: list[str] = field(default_factory=list)
    """Conversations whose end never came to a device."""


class History:
    """Written down by simulated publishers and devices, checked when all is over."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, Kind], Said] = {}
        self._heard: dict[TrackKey, Track] = {}
        self._targets: dict[str, tuple[str, ...]] = {}
        self._ended: set[tuple[str, str]] = set()

    def published(self, conversation_id: str, kind: Kind, data: bytes, device_ids: tuple[str, ...]) -> None:
        """A payload was handed over for these devices."""
        said = self._said.setdefault((conversation_id, kind), Said())
        said.payloads += 1
        said.checksum = zlib.crc32(data, said.checksum)
        self._targets[conversation_id] = device_ids

    def received(self, device_id: str, conversation_id: str, kind: Kind, payload: Any) -> None:
        """A payload or fragment (`avatar_relay.v1.Payload`) came."""
        track = self._heard.setdefault(TrackKey(device_id, conversation_id, kind), Track())
        seq, data = payload.seq, payload.data
        if seq <= track.last_seq or payload.fragment_offset < track.reached:
            track.doubled += 1
            return
        if seq != track.last_seq + 1 or payload.fragment_offset != track.reached:
            track.reordered += 1
        track.checksum = zlib.crc32(data, track.checksum)
        track.reached = payload.fragment_offset + len(data)
        if track.reached >= payload.total_bytes:
            track.last_seq, track.reached, track.checksum_of_whole = seq, 0, track.checksum

    def stream_began(self, device_id: str) -> None:
        """A device attached: its relay sends an incomplete payload again, from the first byte."""
        for key, track in self._heard.items():
            if key.device_id == device_id:
                track.forget_fragments()

    def ended(self, device_id: str, conversation_id: str) -> None:
        """The end of a conversation came."""
        self._ended.add((device_id, conversation_id))

    def check(self) -> Findings:
        """Every track that was published, on every device that it was for."""
        found = Findings()
        for (conversation_id, kind), said in self._said.items():
            for device_id in self._targets[conversation_id]:
                track = self._heard.get(TrackKey(device_id, conversation_id, kind), Track())
                found.payloads += track.last_seq
                found.lost += max(said.payloads - track.last_seq, 0)
                found.doubled += track.doubled
                found.reordered += track.reordered
                found.altered += track.last_seq == said.payloads and track.checksum != said.checksum
                if kind is Kind.AUDIO and (device_id, conversation_id) not in self._ended:
                    found.unfinished.append(f"{conversation_id} on {device_id}")
        return found
