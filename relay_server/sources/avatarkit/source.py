"""The source: sound of a voice, or a backend's own, and the motion that a Server SDK generates for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from avatar_relay.limits import AVATARKIT_KEYFRAMES_PER_SECOND
from avatar_relay.media import Codec, MotionEncoding, MotionFormat, Pacing
from avatar_relay.reasons import Fault, Reason
from relay_server.sources.avatarkit.pool import Pool
from relay_server.sources.avatarkit.sdk_conversation import Conversing
from relay_server.sources.source import (
    AudioChunk,
    AudioSpeech,
    FileSpeech,
    Irregularity,
    Performance,
    Source,
    SourceError,
    Speech,
    TextSpeech,
    close_early,
)
from relay_server.sources.source_trace import SourceTracing

MOTION_FORMAT = MotionFormat(MotionEncoding.AVATARKIT_V2, AVATARKIT_KEYFRAMES_PER_SECOND)
CODECS = (Codec.PCM_S16LE, Codec.OGG_OPUS)
"""Codecs that the Motion Server accepts."""


class AvatarKitSource:
    """Speech with AvatarKit's motion, for one device or group; `text` and `audio` are the voices for text and for files."""

    def __init__(self, pool: Pool, device: str, *, text: Source, audio: Source, tracing: SourceTracing | None = None) -> None:
        self._pool = pool
        self._device = device
        self._text = text
        self._audio = audio
        self._tracing = tracing or SourceTracing()

    @property
    def name(self) -> str:
        """The name used in the configuration."""
        return self._pool.name

    async def perform(self, speech: Speech) -> Performance:
        """Begin: starts the voice now, and the Motion Server with the first item. Raises `SourceError`."""
        chunks: AsyncIterator[bytes | Irregularity]
        match speech:
            case AudioSpeech(audio_format, chunks):
                pass
            case TextSpeech() | FileSpeech():
                voice = self._text if isinstance(speech, TextSpeech) else self._audio
                voiced = await voice.perform(speech)
                audio_format, chunks = voiced.audio_format, _sound_of(voiced)
        if audio_format.codec not in CODECS:
            text = f"{self.name} takes 16-bit PCM and Ogg Opus, not {audio_format.codec.value}"
            raise SourceError(Fault(Reason.AUDIO_FORMAT_UNSUPPORTED, text, "speech"))
        trace = self._tracing.begin(self.name)
        items = Conversing(chunks, audio_format, self._pool, self._device, trace)
        return Performance(audio_format, MOTION_FORMAT, Pacing.BURST, items, trace.context)


async def _sound_of(voiced: Performance) -> AsyncIterator[bytes | Irregularity]:
    """A performance's sound without its motion, and the irregularities."""
    try:
        async for item in voiced.items:
            if isinstance(item, AudioChunk):
                yield item.data
            elif isinstance(item, Irregularity):
                yield item
    finally:
        await close_early(voiced.items)
