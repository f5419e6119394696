"""Batches of payloads passing through the relay; each payload is encoded at most once for all devices. Pure.

A batch is consecutive payloads (or fragments of them) of one kind and one conversation, handled as one object: the relay's cost
is mainly the Python code run for each payload. A batch is cut only if credit runs out or at the message size limit. Payloads received in
one message and sent in one message, which is the usual case, keep their received bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

from avatar_relay.media import EncodedMedia, Kind, Payload, PayloadColumns
from avatar_relay.messages import Media, PublishedMedia


class PayloadBatch(NamedTuple):
    """One entry for each payload or fragment in `seqs`, `due_us` and `sizes`; never empty. Fragments of a payload share its `seq`."""

    kind: Kind
    seqs: Sequence[int]
    due_us: Sequence[int]
    sizes: Sequence[int]
    received_us: int
    size_bytes: int
    """Sum of `sizes`: bytes of media, as counted by credit."""
    encoded: Sequence[bytes] = ()
    """Each payload encoded with tag and length, if there is no `source`."""
    source: EncodedMedia | None = None
    """The message that the batch arrived in."""
    start: int = 0
    """Index of its first payload among those of its kind in `source`."""

    @property
    def entries(self) -> Sequence[bytes]:
        """Each payload encoded with tag and length."""
        return self.encoded if self.source is None else self.source.entries(self.kind)[self.start : self.start + len(self.seqs)]

    def cut(self, count: int) -> tuple[PayloadBatch, PayloadBatch]:
        """Split into the first `count` entries and the rest; neither may be empty."""
        return self._part(0, count), self._part(count, len(self.seqs))

    def fitting(self, size: int) -> int:
        """How many leading entries fit into `size` bytes."""
        count = 0
        for entry in self.sizes:
            size -= entry
            if size < 0:
                break
            count += 1
        return count

    def upto(self, seq: int) -> int:
        """How many leading entries belong to payloads up to `seq`."""
        return bisect_right(self.seqs, seq)

    def only(self, wanted: Sequence[bool]) -> PayloadBatch | None:
        """The selected entries; None if there are none."""
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


def whole_sources(batches: Sequence[PayloadBatch]) -> list[EncodedMedia] | None:
    """The messages in which these batches arrived, if the batches cover them completely and in order; otherwise None."""
    sources, at = [], 0
    while at < len(batches):
        source = batches[at].source
        if source is None:
            return None
        following = at + len(source.counts)
        if following > len(batches):
            return None
        for batch in batches[at:following]:
            if batch.source is not source or len(batch.seqs) < source.counts[batch.kind]:
                return None
        sources.append(source)
        at = following
    return sources


def in_columns(media: Media) -> PublishedMedia:
    """Convert media that did not arrive over the wire, or needs individual handling, to columns, one entry for each kind."""
    of_kinds = [[payload for payload in media.payloads if payload.kind is kind] for kind in Kind]
    return PublishedMedia(media.conversation_id, tuple([_columns_of(payloads) for payloads in of_kinds if payloads]), lambda: media)


def _columns_of(payloads: Sequence[Payload]) -> PayloadColumns:
    return PayloadColumns(
        payloads[0].kind,
        [payload.seq for payload in payloads],
        [-1 if payload.pts_us is None else payload.pts_us for payload in payloads],
        [payload.duration_us for payload in payloads],
        [len(payload.data) for payload in payloads],
        [payload.fragment_offset for payload in payloads],
        [payload.total_bytes for payload in payloads],
    )
