"""Decoders of audio payloads, one for each conversation. `make_decoder` selects one.

Each codec has a module here named by `Codec.value`, whose function `make` returns a decoder of an `AudioFormat`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from avatar_relay.media import AudioFormat, Codec
from edge_client.audio.decoder import AudioDecoder
from edge_client.audio.decoders.resampling import ResamplingDecoder

__all__ = ["load_decoders", "make_decoder"]


def make_decoder(format: AudioFormat, output_rate_hz: int) -> AudioDecoder:
    """A decoder of `format` that returns mono samples at `output_rate_hz`.

    If the rates match, nothing is resampled: PCM is passed sample for sample, Opus as libopus decodes it. Raises `SoundError` if this
    device cannot decode it: libopus is missing.
    """
    decoder = _native_decoder(format)
    if decoder.rate_hz == output_rate_hz:
        return decoder
    return ResamplingDecoder(decoder, output_rate_hz)


def load_decoders() -> None:
    """Import all decoders, which takes some 50 ms: otherwise this would delay the first word of each codec."""
    for codec in Codec:
        _module_of(codec)


def _native_decoder(format: AudioFormat) -> AudioDecoder:
    decoder: AudioDecoder = _module_of(format.codec).make(format)
    return decoder


def _module_of(codec: Codec) -> Any:
    return import_module(f"{__name__}.{codec.value}")
