"""Media on its way through the relay: runs of payloads, each encoded at most once for all devices that get it. Pure.

A run is payloads (or fragments of them) of one kind and one conversation that follow each other. It is handled as one thing,
because what the relay costs is what it does for each payload; it is only cut where credit or the size of a message ends.
What came in one message and leaves in one message, which is nearly all, keeps the bytes that it came in.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

from avatar_relay.media import EncodedMedia, Kind, Payload, PayloadColumns
from avatar_relay.messages import Media, PublishedMedia


class PayloadBatch(NamedTuple):
    """One entry for each payload in `seqs`, `due_us` and `sizes`; never empty. `seqs` of fragments repeat."""

    kind: Kind
    seqs: Sequence[int]
    due_us: Sequence[int]
    sizes: Sequence[int]
    received_us: int
    size_bytes: int
    """Sum of `sizes`: bytes of media, which is what credit counts."""
    encoded: Sequence[bytes] = ()
    """An entry for each payload, where there is no parcel."""
    parcel: EncodedMedia | None = None
    """What it came in."""
    start: int = 0
    """Where it begins among the parcel's payloads of its kind."""

    @property
    def entries(self) -> Sequence[bytes]:
        """Each payload as bytes with tag and length."""
        return self.encoded if self.parcel is None else self.parcel.entries(self.kind)[self.start : self.start + len(self.seqs)]

    def cut(self, count: int) -> tuple[PayloadBatch, PayloadBatch]:
        """The first `count` entries and the others; neither may be none."""
        return self._part(0, count), self._part(count, len(self.seqs))

    def fitting(self, size: int) -> int:
        """How many of the first entries take no more than `size` bytes."""
        if self.size_bytes <= size:
            return len(self.seqs)
        count = 0
        for entry in self.sizes:
            size -= entry
            if size < 0:
                break
            count += 1
        return count

    def upto(self, seq: int) -> int:
        """How many of the first entries belong to payloads up to `seq`."""
        return bisect_right(self.seqs, seq)

    def only(self, wanted: Sequence[bool]) -> PayloadBatch | None:
        """The entries that are wanted; None where there are none."""
        if not any(wanted):
            return None
        sizes, encoded = list(compress(self.sizes, wanted)), list(compress(self.entries, wanted))
        seqs, due_us = list(compress(self.seqs, wanted)), list(compress(self.due_us, wanted))
        return PayloadBatch(self.kind, seqs, due_us, sizes, self.received_us, sum(sizes), encoded)

    def _part(self, start: int, stop: int) -> PayloadBatch:
        sizes = self.sizes[start:stop]
        return self._replace(
            seqs=self.seqs[start:stop],
            due_us=self.due_us[start:stop],
            sizes=sizes,
            size_bytes=sum(sizes),
            encoded=self.encoded[start:stop],
            start=self.start + start,
        )


def parcels_of(runs: Sequence[PayloadBatch]) -> list[EncodedMedia] | None:
    """The parcels that these runs are all of, one after the other; None where any of them is not whole."""
    parcels, at = [], 0
    while at < len(runs):
        parcel = runs[at].parcel
        if parcel is None:
            return None
        members = runs[at : at + len(parcel.counts)]
        if len(members) < len(parcel.counts) or any(
            [run.parcel is not parcel or len(run.seqs) < parcel.counts[run.kind] for run in members]
        ):
            return None
        parcels.append(parcel)
        at += len(members)
    return parcels


def in_runs(media: Media) -> PublishedMedia:
    """Media that did not come on a wire, or is out of the ordinary, with a run of each kind."""
    of_kinds = [[payload for payload in media.payloads if payload.kind is kind] for kind in Kind]
    return PublishedMedia(media.conversation_id, tuple([_in_run(payloads) for payloads in of_kinds if payloads]), lambda: media)


def _in_run(payloads: Sequence[Payload]) -> PayloadColumns:
    return PayloadColumns(
        payloads[0].kind,
        [payload.seq for payload in payloads],
        [-1 if payload.pts_us is None else payload.pts_us for payload in payloads],
        [payload.duration_us for payload in payloads],
        [len(payload.data) for payload in payloads],
        [payload.fragment_offset for payload in payloads],
        [payload.total_bytes for payload in payloads],
    )
