"""A source created at its first use: a relay that only relays loads no numpy, codecs or voices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from relay_server.sources.source import Performance, Source, Speech


class LazySource:
    """See `Source`. `make` imports and creates the real source; it runs in a thread, because it is slow."""

    def __init__(self, name: str, make: Callable[[], Source]) -> None:
        self.name = name
        self._make = make
        self._making = asyncio.Lock()
        self._source: Source | None = None

    async def perform(self, speech: Speech) -> Performance:
        """See `Source`."""
        async with self._making:
            if self._source is None:
                self._source = await asyncio.to_thread(self._make)
        return await self._source.perform(speech)


def local() -> Source:
    """Creates the source `local`: motion from recorded sound."""
    from relay_server.sources.local.source import LocalSource

    return LocalSource()


def recording() -> Source:
    """Creates the source `recording`: recorded conversations."""
    from relay_server.sources.recording import RecordingSource

    return RecordingSource()


def speech(voice: str, rate: int, pitch: int) -> Source:
    """Creates the source `speech`: sound and motion from text."""
    from relay_server.sources.espeak import Voice
    from relay_server.sources.speech import SpeechSource

    return SpeechSource(Voice(voice, rate, pitch))
