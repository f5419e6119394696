"""Bare Opus packets (RFC 6716)."""

from __future__ import annotations

import numpy as np

from avatar_relay.errors import SoundError
from avatar_relay.limits import OPUS_RATE_HZ
from avatar_relay.media import AudioFormat
from avatar_relay.sound.opus import OpusStream
from edge_client.audio.sink import Pcm


class OpusPacketDecoder:
    """Each payload is one Opus packet. Nothing is skipped at the start: bare packets carry no pre-skip."""

    def __init__(self) -> None:
        self._stream = OpusStream()
        self._packets = 0

    @property
    def rate_hz(self) -> int:
        """Always 48 kHz."""
        return OPUS_RATE_HZ

    def decode(self, data: bytes) -> Pcm:
        """The samples of this packet. Raises `SoundError`."""
        self._packets += 1
        try:
            return self._stream.to_pcm(self._stream.decode(data))
        except SoundError as error:
            raise SoundError(f"payload {self._packets} since the start: {error}") from error

    def conceal(self, frames: int) -> Pcm:
        """libopus's concealment for up to 60 ms, then silence."""
        return self._stream.to_pcm(self._stream.conceal(frames))

    def finish(self) -> Pcm:
        """Nothing is held back."""
        return np.zeros(0, np.int16)

    def irregularities(self) -> list[str]:
        """None: a packet is decoded, or it is not."""
        return []


def make(format: AudioFormat) -> OpusPacketDecoder:
    """A decoder for one conversation."""
    return OpusPacketDecoder()
