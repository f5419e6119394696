"""Decoders of audio payloads, one for each conversation. `make_decoder` chooses."""

from __future__ import annotations

from typing import assert_never

from avatar_relay.limits import OPUS_RATE_HZ, PCM_RATES_HZ
from avatar_relay.media import AudioFormat, Codec
from edge_client.audio.decoder import AudioDecoder
from edge_client.audio.decoders.ogg_opus import OggOpusDecoder
from edge_client.audio.decoders.opus import OpusPacketDecoder
from edge_client.audio.decoders.pcm import PcmDecoder
from edge_client.audio.decoders.resampling import ResamplingDecoder
from edge_client.errors import UndecodableError

__all__ = ["make_decoder"]


def make_decoder(format: AudioFormat, output_rate_hz: int) -> AudioDecoder:
    """A decoder of `format` that gives mono samples at `output_rate_hz`.

    Where the rates match nothing is resampled: PCM comes out sample for sample, Opus as libopus decodes it. Raises
    `UndecodableError` for a format that this device does not play.
    """
    decoder = _native_decoder(format)
    if decoder.rate_hz == output_rate_hz:
        return decoder
    return ResamplingDecoder(decoder, output_rate_hz)


def _native_decoder(format: AudioFormat) -> AudioDecoder:
    match format.codec:
        case Codec.PCM_S16LE:
            if format.channels != 1:
                raise UndecodableError(f"PCM with {format.channels} channels; send mono")
            if format.sample_rate_hz not in PCM_RATES_HZ:
                rates = ", ".join(map(str, PCM_RATES_HZ))
                raise UndecodableError(f"PCM at {format.sample_rate_hz} Hz; send one of {rates} Hz")
            return PcmDecoder(format.sample_rate_hz)
        case Codec.OGG_OPUS:
            _check_opus(format)
            return OggOpusDecoder()
        case Codec.OPUS:
            _check_opus(format)
            return OpusPacketDecoder()
        case _:
            assert_never(format.codec)


def _check_opus(format: AudioFormat) -> None:
    if format.sample_rate_hz != OPUS_RATE_HZ:
        raise UndecodableError(f"Opus at {format.sample_rate_hz} Hz; its rate is always {OPUS_RATE_HZ} Hz")
    if format.channels not in (1, 2):
        raise UndecodableError(f"Opus with {format.channels} channels; send mono, or stereo to be mixed down")
