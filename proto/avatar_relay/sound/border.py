"""Input check of audio: detects bytes that do not match their conversation's declared format.

The rules:
1. Only the first bytes of a conversation decide (`containers.sniff`), and each chunk that begins a WAV. They are kept back until
   the result is clear, which takes at most `HEAD_BYTES`, and not at all unless they begin like a container.
2. A WAV of the declared format is stripped: exactly its samples pass, whether it arrives whole, in pieces, or once per chunk.
3. After a refusal everything is refused until a WAV of the declared format begins: the middle of an MP3 would be noise.
"""

from __future__ import annotations

from typing import Protocol

from avatar_relay.errors import SoundError
from avatar_relay.media import AudioFormat, Codec
from avatar_relay.sound.containers import Container, sniff
from avatar_relay.sound.wav import PCM, WavFormat, WavReader, is_wav

_WAV_ENCODINGS = {Codec.PCM_S16LE: (PCM, 16)}
"""Encoding and bits of a WAV that matches a codec."""


class Border(Protocol):
    """Passes the audio that a format allows. A chunk is the data of one call."""

    def take(self, data: bytes) -> bytes:
        """The part of a chunk that passes. Raises `SoundError` if it is refused; then nothing of it passes."""
        ...

    def finish(self) -> bytes:
        """Bytes that were kept back; call it at the end."""
        ...


class SampleBorder:
    """For samples of one size, such as PCM, which any bytes may be."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._format = audio_format
        self._held: bytes | None = b""
        """The first bytes, until it is clear what they are."""
        self._wav: WavReader | None = None
        self._refusal = ""

    @property
    def has_header(self) -> bool:
        """Whether the samples are within a WAV, which declares their format."""
        return self._wav is not None

    def take(self, data: bytes) -> bytes:
        """See `Border`."""
        if self._held is not None:
            return self._take_first(self._held, data)
        if data[:4] in (b"RIFF", b"RF64") and is_wav(data):
            return self._take_wav(data)
        if self._refusal and data:
            raise SoundError(self._refusal)
        if self._wav is None:
            return data
        return self._within(self._wav, data)

    def finish(self) -> bytes:
        """See `Border`."""
        held, self._held = self._held or b"", None
        return held

    def lose(self) -> None:
        """A chunk was lost: sizes no longer apply."""
        self._wav = None

    def _take_first(self, held: bytes, data: bytes) -> bytes:
        head = held + data
        found = sniff(head)
        if found is Container.UNDECIDED:
            self._held = head
            return b""
        self._held = None
        if found is Container.WAV:
            return self._take_wav(head)
        if found is not None:
            self._refuse(f"the bytes are {found.value}")
        return head

    def _take_wav(self, data: bytes) -> bytes:
        self._refusal = ""
        self._wav = WavReader(self._check)
        return self._within(self._wav, data)

    def _within(self, wav: WavReader, data: bytes) -> bytes:
        try:
            samples = wav.feed(data)
        except SoundError as error:
            self._wav = None
            self._refuse(str(error))
        if not wav.ended:
            return samples
        self._wav = None
        return samples + (self._take_wav(wav.rest) if is_wav(wav.rest) else wav.rest)

    def _check(self, wav: WavFormat) -> None:
        wanted = (*_WAV_ENCODINGS.get(self._format.codec, (None, None)), self._format.sample_rate_hz, self._format.channels)
        if (wav.encoding, wav.bits, wav.rate_hz, wav.channels) != wanted:
            raise SoundError(f"the bytes are {Container.WAV.value} of {wav}")

    def _refuse(self, what: str) -> None:
        declared = f"{self._format.codec.value}, {self._format.sample_rate_hz} Hz, 1 channel"
        self._refusal = f"{what}, and {declared} was declared: decode or convert it first, or declare what it is"
        raise SoundError(self._refusal)


class StreamBorder:
    """For a byte stream or packets with their own format: only data that is certainly of another kind is refused."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._codec = audio_format.codec
        self._expected = (Container.OGG, Container.ID3, Container.UNDECIDED) if self._codec is Codec.OGG_OPUS else (Container.UNDECIDED,)
        self._begun = False

    def take(self, data: bytes) -> bytes:
        """See `Border`."""
        if self._begun or not data:
            return data
        found = sniff(data)
        if found is not None and found not in self._expected:
            raise SoundError(f"the bytes are {found.value}, and {self._codec.value} was declared")
        self._begun = True
        return data

    def finish(self) -> bytes:
        """Nothing is kept back."""
        return b""
