"""Ogg Opus: the reader that the relay uses too."""

from __future__ import annotations

from avatar_relay.media import AudioFormat
from avatar_relay.sound.ogg_opus import OggOpusReader


def make(format: AudioFormat) -> OggOpusReader:
    """A decoder for one conversation."""
    return OggOpusReader()
