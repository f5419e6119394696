"""A custom source in its own package: it speaks text as beeps, one per word. Replace it with your own voice.

pip install examples/own_source
relay-server --devices '{lobby = "beeper"}' --beeper-pitch-hz 660
relayctl say lobby "As if it were words"
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

from avatar_relay import setting_types as takes
from avatar_relay.media import AudioFormat, Codec, Pacing
from avatar_relay.settings import setting
from relay_server.sources.plugins import SourceContext, SourcePlugin
from relay_server.sources.source import AudioChunk, Item, Performance, Source, Speech, TextSpeech

RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class BeeperSettings:
    """The table `[beeper]`, the variables `AVATAR_RELAY_BEEPER_…`, the flags `--beeper-…`."""

    pitch_hz: float = setting(440.0, takes.number(100, 4_000, "Hz"), "pitch of the beeps")
    beep_ms: int = setting(200, takes.whole_number(20, 2_000, "ms"), "length of a beep, and of the pause after it")


class BeeperSource:
    """A `Source` of sound without motion; the device derives mouth motion from the sound. Files are left to the relay's own source."""

    name = "beeper"

    def __init__(self, settings: BeeperSettings, files: Source) -> None:
        self._settings = settings
        self._files = files

    async def perform(self, speech: Speech) -> Performance:
        """Begin to speak. Raises `SourceError` if the request is not supported."""
        if not isinstance(speech, TextSpeech):
            return await self._files.perform(speech)
        return Performance(AudioFormat(Codec.PCM_S16LE, RATE_HZ), None, Pacing.BURST, self._beeps(speech.text))

    async def _beeps(self, text: str) -> AsyncIterator[Item]:
        """Yield the sound in chunks, the first ones early. Motion would be a `MotionChunk`, yielded before the sound it belongs to."""
        times = np.arange(RATE_HZ * self._settings.beep_ms // 1_000) / RATE_HZ
        beep = (8_000 * np.sin(2 * np.pi * self._settings.pitch_hz * times)).astype("<i2").tobytes()
        for _ in text.split():
            yield AudioChunk(beep + bytes(len(beep)))


@asynccontextmanager
async def open_beeper(settings: BeeperSettings, context: SourceContext) -> AsyncIterator[Callable[[str], Source]]:
    """Set up once per relay; the yielded factory creates the source of each device. Leaving the context shuts it down."""
    source = BeeperSource(settings, context.audio)
    yield lambda device: source


BEEPER = SourcePlugin(BeeperSettings, open_beeper)
