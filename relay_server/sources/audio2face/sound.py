"""The sound for which a face is generated: read from the speech source, kept per clip for its readers."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator

import numpy as np
import soxr

from avatar_relay.limits import PCM_RATES_HZ
from avatar_relay.media import AudioFormat, Codec
from avatar_relay.reasons import Fault, Reason
from relay_server.sources.audio2face.settings import MIN_RATE_HZ
from relay_server.sources.source import AudioChunk, Irregularity, Item, SourceError, close_early

SAMPLE_BYTES = 2
MAX_IRREGULARITIES = 32

logger = logging.getLogger(__name__)


class SpeechFeed:
    """Speech as mono PCM at a rate that the service supports. Motion in it is skipped. One reader."""

    def __init__(self, audio_format: AudioFormat, pieces: AsyncIterator[bytes | Item]) -> None:
        """Pieces may be cut anywhere. Raises `SourceError` for sound that is not mono PCM of a supported rate."""
        if audio_format.codec is not Codec.PCM_S16LE or audio_format.channels != 1 or audio_format.sample_rate_hz not in PCM_RATES_HZ:
            text = "Audio2Face-3D takes mono PCM at one of the rates that travel; this speech comes otherwise"
            raise SourceError(Fault(Reason.AUDIO_FORMAT_UNSUPPORTED, text, "audio_format"))
        self._pieces = pieces
        self.irregularities: deque[Irregularity] = deque(maxlen=MAX_IRREGULARITIES)
        """Irregularities of the speech so far; removed by their reader."""
        self.rate_hz = max(audio_format.sample_rate_hz, MIN_RATE_HZ)
        self._resampler = None
        if self.rate_hz != audio_format.sample_rate_hz:
            self._resampler = soxr.ResampleStream(audio_format.sample_rate_hz, self.rate_hz, 1, dtype="int16")
        self._carried = b""
        self._left = b""
        self._ended = False

    @property
    def audio_format(self) -> AudioFormat:
        """The format of `read`."""
        return AudioFormat(Codec.PCM_S16LE, self.rate_hz)

    async def read(self, limit_bytes: int) -> bytes:
        """The next whole samples, at most `limit_bytes` (even); empty at the end of the speech. Raises `SourceError`."""
        while not self._left and not self._ended:
            self._left = await self._next()
        data, self._left = self._left[:limit_bytes], self._left[limit_bytes:]
        return data

    async def is_over(self) -> bool:
        """Whether nothing is left. Waits for the next sound to determine it. Raises `SourceError`."""
        while not self._left and not self._ended:
            self._left = await self._next()
        return not self._left

    async def close(self) -> None:
        """Stop reading the speech."""
        await close_early(self._pieces)

    async def _next(self) -> bytes:
        async for piece in self._pieces:
            if isinstance(piece, bytes):
                return self._whole_samples(piece)
            if isinstance(piece, AudioChunk):
                return self._whole_samples(piece.data)
            if isinstance(piece, Irregularity):
                self.irregularities.append(piece)
        self._ended = True
        return self._resampled(b"", last=True)

    def _whole_samples(self, data: bytes) -> bytes:
        data = self._carried + data
        whole = len(data) // SAMPLE_BYTES * SAMPLE_BYTES
        self._carried = data[whole:]
        return self._resampled(data[:whole])

    def _resampled(self, data: bytes, *, last: bool = False) -> bytes:
        if self._resampler is None:
            return data
        samples = self._resampler.resample_chunk(np.frombuffer(data, "<i2").astype(np.int16), last=last)
        return bytes(samples.astype("<i2").tobytes())


class ClipSound:
    """The sound of one clip, which grows as it is generated. Any number of tasks read it, each from its own position."""

    def __init__(self, rate_hz: int, limit_bytes: int) -> None:
        self.rate_hz = rate_hz
        self.limit_bytes = limit_bytes
        self.complete = False
        """Nothing follows in this clip."""
        self.error: SourceError | None = None
        """Why the speech failed."""
        self._data = bytearray()
        self._moved = asyncio.Event()

    async def fill(self, feed: SpeechFeed) -> None:
        """Read the clip's share of a feed. Ends with `complete` set; an exception of the feed becomes `error`."""
        try:
            while len(self._data) < self.limit_bytes and (data := await feed.read(self.limit_bytes - len(self._data))):
                self._data += data
                self._move()
        except SourceError as error:
            self.error = error
        except Exception:
            logger.exception("reading speech broke off")
            self.error = SourceError(Fault(Reason.SOURCE_FAILED, "reading the speech broke off"))
        finally:
            self.complete = True
            self._move()

    @property
    def size_bytes(self) -> int:
        """Bytes available by now."""
        return len(self._data)

    @property
    def seconds(self) -> float:
        """Duration available by now, in s."""
        return len(self._data) / SAMPLE_BYTES / self.rate_hz

    def part(self, start: int, end: int) -> bytes:
        """The available bytes from `start` to `end`."""
        return bytes(self._data[start:end])

    async def beyond(self, place: int) -> bool:
        """Wait for more than `place` bytes; False if the clip is complete without them. Safe to cancel."""
        while len(self._data) <= place and not self.complete:
            await self._moved.wait()
        return len(self._data) > place

    def _move(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
