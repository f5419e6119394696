"""Decoders of audio payloads, one for each conversation. `make_decoder` chooses."""

from __future__ import annotations

from typing import assert_never

from avatar_relay.media import AudioFormat, Codec
from edge_client.audio.decoder import AudioDecoder
from edge_client.audio.decoders.ogg_opus import OggOpusDecoder
from edge_client.audio.decoders.opus import OpusPacketDecoder
from edge_client.audio.decoders.pcm import PcmDecoder
from edge_client.audio.decoders.resampling import ResamplingDecoder

__all__ = ["make_decoder"]


def make_decoder(format: AudioFormat, output_rate_hz: int) -> AudioDecoder:
    """A decoder of `format` that gives mono samples at `output_rate_hz`.

    Where the rates match nothing is resampled: PCM comes out sample for sample, Opus as libopus decodes it. Raises
    `UndecodableError` where this device can not decode it: libopus is missing.
    """
    decoder = _native_decoder(format)
    if decoder.rate_hz == output_rate_hz:
        return decoder
    return ResamplingDecoder(decoder, output_rate_hz)


def _native_decoder(format: AudioFormat) -> AudioDecoder:
    match format.codec:
        case Codec.PCM_S16LE:
            return PcmDecoder(format.sample_rate_hz)
        case Codec.OGG_OPUS:
            return OggOpusDecoder()
        case Codec.OPUS:
            return OpusPacketDecoder()
        case _:
            assert_never(format.codec)
