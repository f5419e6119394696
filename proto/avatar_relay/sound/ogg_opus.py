"""Ogg Opus (RFC 7845) as a byte stream that is cut anywhere, also with several streams chained one after the other.

The rules:
1. A logical stream begins with a page flagged first that holds an OpusHead; OpusTags follow; then audio. Streams of
   other kinds beside it are passed over; if there are only such, it is an error. So is a stream without any sound.
   An ID3 tag in front, and whatever is no page between pages and at the end, is passed over.
2. Where what was sent breaks the format's rules and is heard nevertheless, that is an irregularity: told once for each kind.
   Empty packets, and the lack of a page flagged last, are none.
3. Of a page at the end that is cut, the whole packets are heard, if its number says that it is the next page.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar_relay.errors import SoundError
from avatar_relay.limits import OPUS_RATE_HZ
from avatar_relay.sound import opus_head
from avatar_relay.sound.containers import Container, id3_bytes, sniff
from avatar_relay.sound.irregularities import Irregularities
from avatar_relay.sound.ogg import OggPage, OggPages
from avatar_relay.sound.ogg_opus_link import OggOpusLink


class OggOpusReader:
    """Gives mono samples at 48 kHz. Not thread-safe."""

    rate_hz = OPUS_RATE_HZ

    def __init__(self) -> None:
        self._front = bytearray()
        """The first bytes, until it is clear where Ogg begins."""
        self._skip_bytes = 0
        """What is left of a tag in front."""
        self._in_ogg = False
        self._pages = OggPages()
        self._page_count = 0
        self._link: OggOpusLink | None = None
        self._other_kind: str | None = None
        self._has_sound = self._failed = self._finished = False
        self._ready: list[NDArray[np.int16]] = []
        self._irregularities = Irregularities()

    def decode(self, data: bytes) -> NDArray[np.int16]:
        """The samples of all pages that are complete.

        Raises `SoundError` if it is not Ogg Opus; what is good beside that comes with the next call.
        """
        self._failed = False
        try:
            data = data if self._in_ogg else self._without_front(data)
            for page in self._pages.feed(data):
                self._read(page)
        except SoundError as error:
            self._failed = True
            raise SoundError(f"Ogg Opus, {self._page_count} pages in: {error}") from error
        return self._take_ready()

    def conceal(self, frames: int) -> NDArray[np.int16]:
        """libopus's concealment for up to 60 ms, then silence.

        After an error of `decode` it stands for those bytes, and what was good in them comes first. Else it stands for some
        that did not come, and a page that waited for its rest is dropped.
        """
        if not self._failed:
            self._pages.drop_pending()
            if self._link is not None:
                self._ready.append(self._link.release_held())
        good = self._take_ready()
        missing = max(0, frames - len(good))
        self._ready = [good[frames:]]
        concealed = self._link.conceal(missing) if self._link is not None else np.zeros(missing, np.int16)
        return np.concatenate([good[:frames], concealed])

    def finish(self) -> NDArray[np.int16]:
        """The samples of what can be saved of a page that was cut. Raises `SoundError` (once) if there was no sound at all."""
        for page in self._pages.finish():
            self._read(page)
        cut_bytes, cut_page = self._pages.pending_bytes, self._pages.cut_page()
        if cut_page is not None and self._link is not None and self._link.expects(cut_page):
            self._read(cut_page)
        self._pages.drop_pending()
        finished, self._finished = self._finished, True
        if self._has_sound and cut_bytes:
            self._irregularities.tell("cut", f"the stream is truncated, {cut_bytes} bytes into a page")
        elif self._has_sound and self._pages.damaged_pages:
            self._irregularities.tell("damaged end", "the last page is damaged, and left out")
        elif not self._has_sound and not finished:
            raise SoundError("Ogg Opus without sound: the stream ends before any " + ("OpusHead" if self._link is None else "audio"))
        return self._take_ready()

    def irregularities(self) -> list[str]:
        """What was irregular since the last call, in words; each kind once."""
        return self._irregularities.take()

    def _take_ready(self) -> NDArray[np.int16]:
        pieces, self._ready = self._ready, []
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    def _without_front(self, data: bytes) -> bytes:
        """Bytes from the first page on; keeps back those of which it is not clear. Raises `SoundError` if no page follows."""
        self._front += data
        while self._front:
            skipped = min(self._skip_bytes, len(self._front))
            del self._front[:skipped]
            self._skip_bytes -= skipped
            head = bytes(self._front)
            if not self._skip_bytes and head:
                found = sniff(head)
                if found is Container.ID3:
                    self._skip_bytes = id3_bytes(head)
                    continue
                if head.startswith(b"OggS") or b"OggS".startswith(head):
                    self._in_ogg = len(head) >= 4
                    return head if self._in_ogg else b""
                if found is not Container.UNDECIDED:
                    raise SoundError(f"the bytes are {found.value}" if found else f"they begin with {head[:4].hex(' ')}, not with 'OggS'")
            return b""
        return b""

    def _read(self, page: OggPage) -> None:
        self._page_count += 1
        packet = page.segments[0] if page.segments else b""
        if page.first and packet.startswith(opus_head.MAGIC):
            self._begin_link(page, packet)
        elif self._link is not None and page.serial == self._link.serial:
            self._ready.append(self._link.read(page))
            self._has_sound = self._has_sound or self._link.has_sound
        elif page.first:
            self._other_kind = _kind_of(packet)
        elif self._link is None:
            raise SoundError(f"the stream holds {self._other_kind or 'no OpusHead'}; send Opus")

    def _begin_link(self, page: OggPage, packet: bytes) -> None:
        """Take up a stream, unless one has begun and not given its tags yet: then this one runs beside it."""
        if self._link is None or self._link.tags_seen:
            self._link = OggOpusLink(page, opus_head.parse_head(packet), self._irregularities)


def _kind_of(packet: bytes) -> str:
    """What a stream that is not Opus is, by the mark in its first packet."""
    for mark, kind in ((b"vorbis", "Vorbis"), (b"FLAC", "FLAC"), (b"Speex", "Speex"), (b"theora", "Theora")):
        if mark in packet[:16]:
            return kind
    return "something else"
