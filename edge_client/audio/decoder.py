"""What turns audio payloads into samples. One decoder for each conversation; not thread-safe."""

from __future__ import annotations

from typing import Protocol

from edge_client.audio.sink import Pcm


class AudioDecoder(Protocol):
    """Decodes payloads in the order of their sequence."""

    @property
    def rate_hz(self) -> int:
        """Rate of the samples it gives."""
        ...

    def decode(self, data: bytes) -> Pcm:
        """All samples that are complete with this payload, perhaps none. Raises `SoundError`."""
        ...

    def conceal(self, frames: int) -> Pcm:
        """Exactly `frames` samples in place of a payload that is missing (packet loss concealment, or silence)."""
        ...

    def finish(self) -> Pcm:
        """What is still inside when no payload follows. Raises `SoundError` if sound is lost with it."""
        ...

    def irregularities(self) -> list[str]:
        """What was not as it should be and is heard nevertheless, in words: what is new since the last call, each kind once."""
        ...
