"""Ogg Opus (RFC 7845) as a byte stream split anywhere, also with several chained streams.

The rules:
1. A logical stream begins with a page flagged first that holds an OpusHead; OpusTags follow; then audio. Multiplexed streams of
   other kinds are ignored; if there are only such, it is an error. So is a stream without any audio.
   An ID3 tag at the start, and other data between pages and at the end, is skipped.
2. A breach of the format's rules that does not prevent playback is an irregularity: reported once per kind.
   Empty packets, and the lack of a page flagged last, are not irregularities.
3. If the stream ends within a page, its complete packets are played, if its number shows that it is the next page.
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
    """Decodes to mono samples at 48 kHz. Not thread-safe."""

    rate_hz = OPUS_RATE_HZ

    def __init__(self) -> None:
        self._front = bytearray()
        """The first bytes, until the start of Ogg is found."""
        self._skip_bytes = 0
        """Remaining bytes of a tag at the start."""
        self._in_ogg = False
        self._pages = OggPages()
        self._page_count = 0
        self._link: OggOpusLink | None = None
        self._other_kind: str | None = None
        self._has_sound = self._failed = self._finished = False
        self._ready: list[NDArray[np.int16]] = []
        self._irregularities = Irregularities()

    def decode(self, data: bytes) -> NDArray[np.int16]:
        """The samples of all complete pages.

        Raises `SoundError` if it is not Ogg Opus; other valid audio is returned by the next call.
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

        After an error of `decode` it replaces those bytes, after their valid audio. Otherwise it replaces lost data, and an incomplete page
        is dropped.
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
        """The samples of the complete packets of an incomplete page. Raises `SoundError` (once) if there was no audio at all."""
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
        """Irregularities since the last call, in words; each kind once."""
        return self._irregularities.take()

    def _take_ready(self) -> NDArray[np.int16]:
        pieces, self._ready = self._ready, []
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    def _without_front(self, data: bytes) -> bytes:
        """The bytes from the first page on; undecided ones are kept back. Raises `SoundError` if no page follows."""
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
        """Switch to a new stream, unless the current one has not sent its tags yet: then the new one is multiplexed and ignored."""
        if self._link is None or self._link.tags_seen:
            self._link = OggOpusLink(page, opus_head.parse_head(packet), self._irregularities)


def _kind_of(packet: bytes) -> str:
    """The kind of a stream that is not Opus, by the mark in its first packet."""
    for mark, kind in ((b"vorbis", "Vorbis"), (b"FLAC", "FLAC"), (b"Speex", "Speex"), (b"theora", "Theora")):
        if mark in packet[:16]:
            return kind
    return "something else"
