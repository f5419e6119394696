"""The first packet of an Ogg Opus stream (RFC 7845, 5.1), and its decoder."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from avatar_relay.errors import SoundError
from avatar_relay.sound.layout import MAX_CHANNELS, VORBIS_LAYOUTS, mono_gains
from avatar_relay.sound.opus import OpusStream

MAGIC = b"OpusHead"
_FIXED = struct.Struct("<8sBBHIhB")
_RTP, _VORBIS, _PROJECTION = 0, 1, 3
"""Channel mapping families. All others are read as family 255: channels without a layout."""


@dataclass(frozen=True, slots=True)
class OpusHead:
    """An OpusHead. `mapping` has the decoded channel of each output channel; `coupled` of the `streams` are stereo."""

    pre_skip_frames: int
    gain_q8: int
    family: int
    streams: int
    coupled: int
    mapping: tuple[int, ...]

    def open_stream(self) -> OpusStream:
        """A decoder that mixes its channels down and applies its gain. Raises `SoundError`."""
        channels = len(self.mapping)
        gain = 10 ** (self.gain_q8 / 256 / 20)
        gains = [gain * part for part in mono_gains(VORBIS_LAYOUTS[channels - 1] if self.family in (_RTP, _VORBIS) else None, channels)]
        if self.family == _RTP and channels == 1:
            return OpusStream(gains=gains)
        return OpusStream(mapping=self.mapping, streams=self.streams, coupled=self.coupled, gains=gains)


def parse_head(packet: bytes) -> OpusHead:
    """Read an OpusHead. Raises `SoundError` for a breach of RFC 7845, an unknown version, or more than `MAX_CHANNELS` channels."""
    if len(packet) < _FIXED.size:
        raise SoundError(f"OpusHead of {len(packet)} bytes; it has at least {_FIXED.size}")
    _, version, channels, pre_skip_frames, _, gain_q8, family = _FIXED.unpack_from(packet)
    if version >> 4:
        raise SoundError(f"OpusHead of version {version}; versions 0 to 15 can be read")
    most = 2 if family == _RTP else MAX_CHANNELS
    if not 1 <= channels <= most or family == _PROJECTION:
        raise SoundError(f"Opus with {channels} channels in mapping family {family}; send mono, or stereo to be mixed down")
    if family == _RTP:
        return OpusHead(pre_skip_frames, gain_q8, family, 1, channels - 1, tuple(range(channels)))
    table = packet[_FIXED.size : _FIXED.size + 2 + channels]
    if len(table) < 2 + channels:
        raise SoundError(f"OpusHead of {len(packet)} bytes; with a mapping of {channels} channels it has {_FIXED.size + 2 + channels}")
    streams, coupled, *mapping = table
    decoded = streams + coupled
    if not streams or coupled > streams or decoded > 255 or any(decoded <= channel < 255 for channel in mapping):
        raise SoundError(f"OpusHead maps {channels} channels to {streams} streams, {coupled} of them stereo, which cannot be")
    return OpusHead(pre_skip_frames, gain_q8, family, streams, coupled, tuple(mapping))
