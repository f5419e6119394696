"""One logical stream of Ogg Opus: decodes packets, and applies granule positions.

The rules:
1. Pre-skip samples are dropped from the start; the head's gain is applied to all samples.
2. A page's granule position is the stream's length at the last packet that ends on it. On the last page it may be less than the
   packets' length, by at most the last packet: the rest is padding, and is cut off. A longer trim is ignored.
3. If a page not flagged last has such a position, the samples beyond it are held back: they are padding if the
   stream ends here, and are played if it continues.
4. If pages are missing, the gap that the granule position shows is filled with concealment, less what the caller
   concealed already, so that later audio keeps its position.
5. Other contradictory positions are ignored from then on: samples are counted instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar_relay.errors import SoundError
from avatar_relay.limits import OPUS_RATE_HZ
from avatar_relay.sound.irregularities import Irregularities
from avatar_relay.sound.ogg import OggPage, PacketAssembler
from avatar_relay.sound.opus import MAX_PACKET_BYTES, Samples, packet_frames
from avatar_relay.sound.opus_head import OpusHead

MAX_FILLED_GAP_FRAMES = 10 * OPUS_RATE_HZ
"""A longer gap than this between two pages is implausible, and not filled."""
MAX_FIRST_DEFICIT_FRAMES = OPUS_RATE_HZ * 20 // 1000
"""Some muxers start one packet too low. A larger deficit is another unit, or noise."""

_TAGS_MAGIC = b"OpusTags"
_NOTHING: Samples = np.zeros(0, np.float32)


class OggOpusLink:
    """One stream of a chain. Errors in it are reported, and decoding continues."""

    def __init__(self, page: OggPage, head: OpusHead, irregularities: Irregularities) -> None:
        """`page` is its first page. Raises `SoundError` if there is no decoder for it."""
        self.serial = page.serial
        self.tags_seen = False
        self.has_sound = False
        """Whether a packet was decoded."""
        self._irregularities = irregularities
        self._assembler = PacketAssembler(MAX_PACKET_BYTES + 1)
        self._assembler.add(page)
        self._stream = head.open_stream()
        self._skip_frames = head.pre_skip_frames
        self._position: int | None = None
        """Granule position after the decoded and concealed audio; None before the first audio page."""
        self._believed = True
        """False: granule positions are ignored (rule 5)."""
        self._held = _NOTHING
        """Samples held back (rule 3)."""

    def expects(self, page: OggPage) -> bool:
        """Whether the page is the next one of this stream."""
        return page.serial == self.serial and not page.first and self._assembler.expects(page)

    def read(self, page: OggPage) -> NDArray[np.int16]:
        """The samples of a page of this stream."""
        packets, missing_pages = self._assembler.add(page)
        if packets and not self.tags_seen:
            self.tags_seen = True
            if packets[0].startswith(_TAGS_MAGIC):
                del packets[0]
        if missing_pages:
            self._irregularities.tell("lost page", f"{missing_pages} Ogg pages are missing or damaged; concealment takes their place")
        sized = self._sized(packets)
        if not sized:
            return np.zeros(0, np.int16)
        frames, last_frames = sum(size for _, size in sized), sized[-1][1]
        held, self._held = self._held, _NOTHING
        if len(held):
            self._disbelieve()
        filled = self._conceal(self._begin(page, frames, after_loss=missing_pages > 0))
        decoded = [self._decode(packet, size) for packet, size in sized]
        surplus = self._surplus(page, frames, last_frames)
        kept = len(decoded[-1]) - surplus
        if not page.last:
            self._held = decoded[-1][kept:]
        pieces = [held, filled, *decoded[:-1], decoded[-1][:kept]]
        return np.concatenate([self._stream.to_pcm(self._without_pre_skip(piece)) for piece in pieces])

    def release_held(self) -> NDArray[np.int16]:
        """The samples that rule 3 holds back: the stream continues, after a gap."""
        held, self._held = self._held, _NOTHING
        return self._stream.to_pcm(self._without_pre_skip(held))

    def conceal(self, frames: int) -> NDArray[np.int16]:
        """Concealment of missing audio; moves the position."""
        return self._stream.to_pcm(self._conceal(frames))

    def _conceal(self, frames: int) -> Samples:
        if self._position is not None:
            self._position += frames
        return self._stream.conceal(frames)

    def _sized(self, packets: list[bytes]) -> list[tuple[bytes, int]]:
        """Packets with their lengths in frames, without invalid ones (RFC 7845, 3)."""
        sized: list[tuple[bytes, int]] = []
        for packet in filter(None, packets):
            try:
                sized.append((packet, packet_frames(packet)))
            except SoundError as error:
                self._irregularities.tell("packet", f"left out: {error}")
        return sized

    def _decode(self, packet: bytes, frames: int) -> Samples:
        try:
            samples = self._stream.decode(packet)
        except SoundError as error:
            self._irregularities.tell("packet", f"{error}; concealment takes its place")
            return self._stream.conceal(frames)
        self.has_sound = True
        return samples

    def _begin(self, page: OggPage, frames: int, *, after_loss: bool) -> int:
        """Set the position before the first packet that ends on the page; returns the number of missing frames before it."""
        counted, told = self._position, None if page.granule is None else page.granule - frames
        if counted is None:
            self._position = self._first_position(page, told)
            if not after_loss or not 0 < self._position <= MAX_FILLED_GAP_FRAMES:
                return 0
            gap, self._position = self._position, 0
            return gap
        if told is None or told <= counted or not self._believed:
            return 0
        gap = told - counted
        if after_loss and gap <= MAX_FILLED_GAP_FRAMES:
            return gap
        self._position = told
        if not after_loss:
            self._disbelieve()
        return 0

    def _first_position(self, page: OggPage, told: int | None) -> int:
        """Position of the first page with audio: above 0 if the stream was joined midway, never below (RFC 7845, 4.5)."""
        if told is None or (told < 0 and page.last):
            return 0
        if told < 0:
            text = f"the first page's granule position is {-told} samples lower than its sound"
            self._irregularities.tell("granule", text)
            self._believed = -told <= MAX_FIRST_DEFICIT_FRAMES
        return told if self._believed else 0

    def _surplus(self, page: OggPage, frames: int, last_frames: int) -> int:
        """Frames at the page's end beyond its granule position (rules 2 and 3); moves the position."""
        assert self._position is not None
        self._position += frames
        if page.granule is None or page.granule >= self._position:
            return 0
        surplus = self._position - page.granule
        if self._believed and surplus <= last_frames:
            return surplus
        if page.last:
            text = f"the last granule position would cut off {surplus} samples, more than its last packet; all is played"
            self._irregularities.tell("end", text)
        else:
            self._disbelieve()
        return 0

    def _disbelieve(self) -> None:
        self._believed = False
        self._irregularities.tell("granule", "granule positions contradict the length of the sound, and are ignored")

    def _without_pre_skip(self, samples: Samples) -> Samples:
        skipped = min(self._skip_frames, len(samples))
        self._skip_frames -= skipped
        return samples[skipped:]
