"""Splits large payloads into fragments, and reassembles them.

Rules of fragments:
1. A payload that fits travels whole: `fragment_offset` and `total_bytes` are 0.
2. A larger one travels as fragments in order, without gap or overlap, the first at offset 0. Each carries the size of the
   whole, and repeats `seq`, `pts_us` and `duration_us`.
3. Between the first and the last fragment no other payload of the same conversation and kind may arrive.
4. A breach voids the incomplete payload and the breaching fragment; the next fragment may start a new payload.
"""

from __future__ import annotations

from avatar_relay.errors import FaultError
from avatar_relay.limits import MAX_FRAGMENT_BYTES, MAX_PAYLOAD_BYTES
from avatar_relay.media import Kind, Payload
from avatar_relay.reasons import Fault, Reason


class FragmentError(FaultError):
    """A fragment breaks the rules; `fault` describes which one, and how."""


def split(payload: Payload, max_bytes: int = MAX_FRAGMENT_BYTES) -> tuple[Payload, ...]:
    """The payload or fragment itself if it fits into `max_bytes`, else its fragments in order, each but the last of that size."""
    data = payload.data
    if len(data) <= max_bytes:
        return (payload,)
    total, first = payload.total_bytes or len(data), payload.fragment_offset
    return tuple(
        payload._replace(data=data[at : at + max_bytes], fragment_offset=first + at, total_bytes=total)
        for at in range(0, len(data), max_bytes)
    )


class Reassembler:
    """Reassembles the fragments of one conversation and kind; holds at most one payload, `MAX_PAYLOAD_BYTES` of it."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._first: Payload | None = None
        self._data = bytearray()

    @property
    def pending_bytes(self) -> int:
        """Bytes of an incomplete payload; not 0 at a conversation's end means that it is truncated."""
        return len(self._data)

    @property
    def pending_seq(self) -> int:
        """Sequence of the incomplete payload; 0 if there is none."""
        return 0 if self._first is None else self._first.seq

    def reset(self) -> None:
        """Discard the incomplete payload: for a stream that resumes and sends the whole payload again."""
        self._first = None
        self._data = bytearray()

    def add(self, fragment: Payload) -> Payload | None:
        """Add the next payload or fragment; returns the payload once it is complete.

        Raises `FragmentError` if the rules are broken; the incomplete payload is then discarded.
        """
        fault = self._check(fragment)
        if fault is not None:
            self.reset()
            raise FragmentError(fault)
        if self._first is None:
            if not fragment.is_fragment:
                return fragment._replace(total_bytes=0) if fragment.total_bytes else fragment
            self._first = fragment
        self._data += fragment.data
        if len(self._data) < fragment.total_bytes:
            return None
        whole = self._first._replace(data=bytes(self._data), total_bytes=0)
        self.reset()
        return whole

    def _check(self, fragment: Payload) -> Fault | None:
        size = fragment.total_bytes or len(fragment.data)
        if fragment.kind is not self._kind:
            return _fault(fragment, f"{fragment.kind.value} among fragments of {self._kind.value}", "kind")
        if not fragment.data:
            return _fault(fragment, "it is empty", "data")
        if size > MAX_PAYLOAD_BYTES:
            text = f"payload {fragment.seq} has {size} bytes; at most {MAX_PAYLOAD_BYTES} are allowed"
            return Fault(Reason.PAYLOAD_TOO_LARGE, text, "media.payloads.total_bytes")
        if fragment.fragment_offset + len(fragment.data) > size:
            return _fault(fragment, f"it ends behind the payload's {size} bytes", "fragment_offset")
        return self._check_order(fragment)

    def _check_order(self, fragment: Payload) -> Fault | None:
        first = self._first
        if first is not None:
            for field in ("seq", "total_bytes", "pts_us", "duration_us"):
                was, now = getattr(first, field), getattr(fragment, field)
                if was != now:
                    return _fault(fragment, f"{field} was {was} in payload {first.seq}, which is not complete", field)
        if fragment.fragment_offset != len(self._data):
            return _fault(fragment, f"the next one must begin at byte {len(self._data)}", "fragment_offset")
        return None


def _fault(fragment: Payload, text: str, field: str) -> Fault:
    where = (
        f"payload {fragment.seq}, {len(fragment.data)} of {fragment.total_bytes or len(fragment.data)} bytes at {fragment.fragment_offset}"
    )
    return Fault(Reason.FRAGMENT_INVALID, f"{where}: {text}", f"media.payloads.{field}")
