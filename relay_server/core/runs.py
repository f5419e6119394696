"""Media on its way through the relay: runs of payloads, each encoded once for all devices that get it. Pure.

A run is payloads (or fragments of them) of one kind and one conversation that follow each other. It is handled as one thing,
because what the relay costs is what it does for each payload; it is only cut where credit or the size of a message ends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

from avatar_relay.media import Kind, Payload, PayloadRun
from avatar_relay.messages import Media, PublishedMedia


class Run(NamedTuple):
    """One entry for each payload in `seqs`, `due_us`, `sizes` and `encoded`; never empty. `seqs` of fragments repeat."""

    kind: Kind
    seqs: Sequence[int]
    due_us: Sequence[int]
    sizes: Sequence[int]
    encoded: Sequence[bytes]
    received_us: int
    size_bytes: int
    """Sum of `sizes`: bytes of media, which is what credit counts."""

    def cut(self, count: int) -> tuple[Run, Run]:
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

    def only(self, wanted: Sequence[bool]) -> Run | None:
        """The entries that are wanted; None where there are none."""
        if not any(wanted):
            return None
        sizes = list(compress(self.sizes, wanted))
        return Run(
            self.kind,
            list(compress(self.seqs, wanted)),
            list(compress(self.due_us, wanted)),
            sizes,
            list(compress(self.encoded, wanted)),
            self.received_us,
            sum(sizes),
        )

    def _part(self, start: int, stop: int) -> Run:
        sizes = self.sizes[start:stop]
        return Run(
            self.kind,
            self.seqs[start:stop],
            self.due_us[start:stop],
            sizes,
            self.encoded[start:stop],
            self.received_us,
            sum(sizes),
        )


def in_runs(media: Media) -> PublishedMedia:
    """Media that did not come on a wire, or is out of the ordinary, with a run of each kind."""
    of_kinds = [[payload for payload in media.payloads if payload.kind is kind] for kind in Kind]
    return PublishedMedia(media.conversation_id, tuple([_in_run(payloads) for payloads in of_kinds if payloads]), lambda: media)


def _in_run(payloads: Sequence[Payload]) -> PayloadRun:
    return PayloadRun(
        payloads[0].kind,
        [payload.seq for payload in payloads],
        [-1 if payload.pts_us is None else payload.pts_us for payload in payloads],
        [payload.duration_us for payload in payloads],
        [len(payload.data) for payload in payloads],
        [payload.fragment_offset for payload in payloads],
        [payload.total_bytes for payload in payloads],
        (),
    )
