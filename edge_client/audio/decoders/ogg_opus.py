"""Ogg Opus (RFC 7845) as a byte stream that is cut anywhere, also with several streams chained one after the other.

The rules:
1. A logical stream begins with a page flagged first that holds an OpusHead; OpusTags follow; then audio. Streams of
   other kinds beside it are passed over; where there are only such, it is an error.
2. Pre-skip samples are dropped from the start of each chained stream, the head's gain is applied to all of it.
3. A page's granule position is the stream's length at the last packet that ends on it. On the last page it may be less
   than what the packets hold: the rest is padding and is cut off.
4. Where pages are missing, the gap that the granule position shows is filled with concealment, less what the caller
   concealed already, so that what follows keeps its place.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from avatar_relay.limits import OPUS_RATE_HZ
from avatar_relay.media import AudioFormat
from edge_client.audio.decoders.ogg import OggPage, OggPages, PacketAssembler
from edge_client.audio.decoders.opus import MAX_PACKET_BYTES, OpusStream, Samples, packet_frames
from edge_client.audio.sink import Pcm
from edge_client.errors import UndecodableError

MAX_FILLED_GAP_FRAMES = 10 * OPUS_RATE_HZ
"""A longer gap than this between two pages is not believed, and not filled."""

_HEAD_MAGIC, _TAGS_MAGIC = b"OpusHead", b"OpusTags"
_HEAD = struct.Struct("<8sBBHIhB")


@dataclass(frozen=True, slots=True)
class OpusHead:
    """What the first packet of a stream says (RFC 7845, 5.1)."""

    pre_skip_frames: int
    gain_q8: int


def parse_head(packet: bytes) -> OpusHead:
    """Read an OpusHead. Raises `UndecodableError` for more than two channels, or a version from the future."""
    if len(packet) < _HEAD.size:
        raise UndecodableError(f"OpusHead of {len(packet)} bytes; it has at least {_HEAD.size}")
    _, version, channels, pre_skip_frames, _, gain_q8, mapping_family = _HEAD.unpack_from(packet)
    if version >> 4:
        raise UndecodableError(f"OpusHead of version {version}; versions 0 to 15 can be read")
    if mapping_family != 0 or channels not in (1, 2):
        raise UndecodableError(f"Opus with {channels} channels in mapping family {mapping_family}; send mono, or stereo to be mixed down")
    return OpusHead(pre_skip_frames=pre_skip_frames, gain_q8=gain_q8)


class _Link:
    """One logical stream of a chain. What is wrong in it is appended to `faults`; decoding goes on."""

    def __init__(self, page: OggPage, head: OpusHead, faults: list[str]) -> None:
        self.serial = page.serial
        self.tags_seen = False
        self._faults = faults
        self._assembler = PacketAssembler(MAX_PACKET_BYTES + 1)
        self._assembler.add(page)
        self._stream = OpusStream(gain_q8=head.gain_q8)
        self._skip_frames = head.pre_skip_frames
        self._position: int | None = None
        """Granule position after what was decoded and concealed; None before the first audio page."""

    def decode(self, page: OggPage) -> list[Pcm]:
        """The samples of a page of this stream."""
        packets, missing_pages = self._assembler.add(page)
        if packets and not self.tags_seen:
            self.tags_seen = True
            if packets[0].startswith(_TAGS_MAGIC):
                del packets[0]
        sized = self._sized(packets)
        if not sized:
            return []
        frames = sum(size for _, size in sized)
        begin = self._begin_of(page, frames, after_loss=missing_pages > 0)
        pieces = [self._fill(begin)] if missing_pages else []
        keep = page.granule - begin if page.last and page.granule is not None else frames
        for packet, size in sized:
            pieces.append(self._decode_packet(packet, size)[: max(0, keep)])
            keep -= size
        self._position = begin + frames
        return [self._stream.to_pcm(self._without_pre_skip(piece)) for piece in pieces]

    def conceal(self, frames: int) -> Pcm:
        """Concealment in place of what is missing; moves the position."""
        return self._stream.to_pcm(self._conceal(frames))

    def _conceal(self, frames: int) -> Samples:
        if self._position is not None:
            self._position += frames
        return self._stream.conceal(frames)

    def _sized(self, packets: list[bytes]) -> list[tuple[bytes, int]]:
        """Packets with their lengths in frames, without those that have none."""
        sized: list[tuple[bytes, int]] = []
        for packet in packets:
            try:
                sized.append((packet, packet_frames(packet)))
            except UndecodableError as error:
                self._faults.append(str(error))
        return sized

    def _decode_packet(self, packet: bytes, frames: int) -> Samples:
        try:
            return self._stream.decode(packet)
        except UndecodableError as error:
            self._faults.append(str(error))
            return self._stream.conceal(frames)

    def _begin_of(self, page: OggPage, frames: int, *, after_loss: bool) -> int:
        """Granule position before the first packet that ends on the page.

        The last page's granule does not tell, for it may cut packets short; after a loss it is the best guess.
        """
        counted = self._position
        if page.granule is None or (page.last and not after_loss):
            return counted or 0
        told = max(0, page.granule - frames)
        return told if counted is None or not page.last else max(counted, told)

    def _fill(self, begin: int) -> Samples:
        gap = 0 if self._position is None else begin - self._position
        return self._conceal(gap if 0 < gap <= MAX_FILLED_GAP_FRAMES else 0)

    def _without_pre_skip(self, samples: Samples) -> Samples:
        skipped = min(self._skip_frames, len(samples))
        self._skip_frames -= skipped
        return samples[skipped:]


class OggOpusDecoder:
    """Decodes at 48 kHz, mono."""

    def __init__(self) -> None:
        self._pages = OggPages()
        self._link: _Link | None = None
        self._other_kind: str | None = None
        self._page_count = 0
        self._faults: list[str] = []
        self._ready: list[Pcm] = []
        self._failed = False
        self._finished = False

    @property
    def rate_hz(self) -> int:
        """48 kHz, always."""
        return OPUS_RATE_HZ

    def decode(self, data: bytes) -> Pcm:
        """The samples of all pages that are complete.

        Raises `UndecodableError` where something in them is wrong; what is good beside it comes with the next call.
        """
        self._failed = False
        try:
            for page in self._pages.feed(data):
                self._page_count += 1
                self._decode_page(page)
        except UndecodableError as error:
            self._faults.append(str(error))
        return self._give()

    def conceal(self, frames: int) -> Pcm:
        """libopus's concealment for up to 60 ms, then silence.

        After an error of `decode` it stands for that payload, and what was good in it comes first. Else it stands for one
        that did not come, and a page that waited for its rest is dropped.
        """
        if not self._failed:
            self._pages.drop_pending()
        good = self._give()
        missing = max(0, frames - len(good))
        self._ready = [good[frames:]]
        return np.concatenate([good[:frames], self._conceal(missing)])

    def _conceal(self, frames: int) -> Pcm:
        return self._link.conceal(frames) if self._link is not None else np.zeros(frames, np.int16)

    def finish(self) -> Pcm:
        """Nothing is held back. Raises `UndecodableError` (once) where the stream ends within a page, or before any audio."""
        pending_bytes = self._pages.pending_bytes
        self._pages.drop_pending()
        if pending_bytes:
            self._faults.append(f"the stream is cut short: {pending_bytes} bytes of an incomplete page are left")
        elif self._link is None and not self._finished:
            self._faults.append("the stream ends before any OpusHead")
        self._finished = True
        return self._give()

    def _give(self) -> Pcm:
        if self._faults:
            text = "; ".join(self._faults[:3])
            self._faults.clear()
            self._failed = True
            raise UndecodableError(f"Ogg Opus, {self._page_count} pages in: {text}")
        pieces, self._ready = self._ready, []
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    def _decode_page(self, page: OggPage) -> None:
        if page.first:
            self._begin_link(page)
        elif self._link is None:
            raise UndecodableError(f"the stream holds {self._other_kind or 'no OpusHead'}; send Opus")
        elif page.serial == self._link.serial:
            self._ready += self._link.decode(page)

    def _begin_link(self, page: OggPage) -> None:
        """Take up a stream, unless one has begun and not given its tags yet: then this one runs beside it."""
        packet = page.segments[0] if page.segments else b""
        if not packet.startswith(_HEAD_MAGIC):
            self._other_kind = _kind_of(packet)
        elif self._link is None or self._link.tags_seen:
            self._link = _Link(page, parse_head(packet), self._faults)


def _kind_of(packet: bytes) -> str:
    """What a stream that is not Opus is, by the mark in its first packet."""
    for mark, kind in ((b"vorbis", "Vorbis"), (b"FLAC", "FLAC"), (b"Speex", "Speex"), (b"theora", "Theora")):
        if mark in packet[:16]:
            return kind
    return "something else"


def make(format: AudioFormat) -> OggOpusDecoder:
    """A decoder for one conversation."""
    return OggOpusDecoder()
