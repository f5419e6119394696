"""Hand-made beginnings of containers, and WAV files."""

from __future__ import annotations

import struct

import numpy as np

from avatar_relay.sound.containers import Container
from tests.avatar_relay.sound.ogg_muxing import make_page, opus_head


def mpeg(frames: int = 4, *, kbps_index: int = 9, mono: bool = False) -> bytes:
    """MPEG-1 Layer III at 44.1 kHz; without padding a frame of 128 kbit/s has 417 bytes."""
    kbps = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128)[kbps_index]
    header = bytes([0xFF, 0xFB, kbps_index << 4, 0xC4 if mono else 0x44])
    return (header + bytes(144_000 * kbps // 44_100 - 4)) * frames


def adts(frames: int = 4, *, size: int = 300) -> bytes:
    """AAC-LC at 44.1 kHz, mono."""
    header = bytes([0xFF, 0xF1, 0x50, 0x40 | size >> 11, size >> 3 & 255, (size & 7) << 5 | 0x1F, 0xFC])
    return (header + bytes(size - 7)) * frames


def flac() -> bytes:
    """A STREAMINFO of 16 kHz, mono, 16 bits."""
    info = struct.pack(">HH", 4_096, 4_096) + bytes(6) + (16_000 << 44 | 15 << 36).to_bytes(8, "big") + bytes(16)
    return b"fLaC\x80\0\0\x22" + info


def wav(
    data: bytes,
    *,
    rate_hz: int = 16_000,
    channels: int = 1,
    bits: int = 16,
    encoding: int = 1,
    data_size: int | None = None,
    riff_size: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
    extensible: bool = False,
) -> bytes:
    """A WAV with correct or given sizes; chunks may precede and follow the samples."""
    block = channels * bits // 8
    format_ = struct.pack("<HHIIHH", 0xFFFE if extensible else encoding, channels, rate_hz, rate_hz * block, block, bits)
    if extensible:
        format_ += struct.pack("<HHIH", 22, bits, 4, encoding) + bytes.fromhex("000000001000800000aa00389b71")
    size = len(data) if data_size is None else data_size
    chunks = b"WAVE" + chunk(b"fmt ", format_) + before + b"data" + struct.pack("<I", size) + data + bytes(len(data) & 1) + after
    return b"RIFF" + struct.pack("<I", len(chunks) if riff_size is None else riff_size) + chunks


def rf64(data: bytes, after: bytes = b"") -> bytes:
    """The same with 64-bit sizes."""
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, len(data), 0, 0))
    plain = wav(data, data_size=0xFFFFFFFF, after=after)
    return b"RF64\xff\xff\xff\xffWAVE" + sizes + plain[12:]


def chunk(name: bytes, content: bytes) -> bytes:
    """A RIFF chunk."""
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) & 1)


TAG = chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 6) + b"maker\0")
EBML = bytes.fromhex("1a45dfa3 9f 4286 81 01 42f7 81 01 42f2 81 04 42f3 81 08 4282 84") + b"webm" + bytes.fromhex("4287 81 04 4285 81 02")
BEGINNINGS: dict[Container, bytes] = {
    Container.WAV: wav(bytes(100)),
    Container.OGG: make_page([opus_head()], flags=2) + make_page([b"OpusTags" + bytes(8)], sequence=1),
    Container.FLAC: flac(),
    Container.EBML: EBML,
    Container.MP4: b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0",
    Container.ID3: b"ID3\x04\0\0\0\0\x02\x01" + bytes(257),
    Container.MPEG: mpeg(),
    Container.ADTS: adts(),
}


def pcm(frames: int = 8_000, seed: int = 1) -> bytes:
    """Samples of a quiet voice-like noise."""
    samples = np.cumsum(np.random.default_rng(seed).normal(0, 200, frames))
    return bytes(np.clip(samples - samples.mean(), -20_000, 20_000).astype("<i2").tobytes())
