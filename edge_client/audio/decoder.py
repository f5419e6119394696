"""Interface of audio decoders. One decoder for each conversation; not thread-safe."""

from __future__ import annotations

from typing import Protocol

from edge_client.audio.sink import Pcm


class AudioDecoder(Protocol):
    """Decodes payloads in the order of their sequence."""

    @property
    def rate_hz(self) -> int:
        """Sample rate of the output."""
        ...

    def decode(self, data: bytes) -> Pcm:
        """All samples that are complete with this payload, perhaps none. Raises `SoundError`."""
        ...

    def conceal(self, frames: int) -> Pcm:
        """Exactly `frames` samples for a missing payload (packet loss concealment, or silence)."""
        ...

    def finish(self) -> Pcm:
        """The remaining samples when no payload follows. Raises `SoundError` if sound is lost with them."""
        ...

    def irregularities(self) -> list[str]:
        """Descriptions of irregularities in sound that is played nevertheless: those new since the last call, each kind once."""
        ...
