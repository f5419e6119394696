"""Fuzzes every parser of external bytes with a seeded mutator: no crash, no hang, no undeclared error.

Cases alternate over all parsers. Each is a valid sample with a few changes: bytes flipped, cut, duplicated, inserted, swapped
with those of another sample, or pure noise.
"""

from __future__ import annotations

import io
import json
import random
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from google.protobuf.message import DecodeError

from avatar_relay import avatarkit, wire
from avatar_relay import messages as m
from avatar_relay.device_state import Part, Parts, PartState
from avatar_relay.errors import ConfigError, SoundError
from avatar_relay.fragments import FragmentError, Reassembler
from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Credit, Cursor, Kind, MotionEncoding, MotionFormat, Payload
from avatar_relay.opus_packets import packet_duration_us
from avatar_relay.reasons import Fault, Reason
from avatar_relay.sound.containers import HEAD_BYTES, Container, sniff
from avatar_relay.sound.opus_head import parse_head
from avatar_relay.sound.wav import WavReader
from avatar_relay.v1 import device_service_pb2 as device
from avatar_relay.v1 import media_pb2
from avatar_relay.v1 import publisher_service_pb2 as backend
from avatar_relay.wire.media_route import conversation_of_media
from edge_client.audio.decoders import make_decoder
from edge_client.config import load_config as load_edge_config
from edge_client.errors import EdgeError
from edge_client.motion.decoders import make_motion_decoder
from relay_server.cli import build_parser, load_config
from relay_server.sources.local.audio_file import AudioFile
from relay_server.sources.local.audio_readers import AudioFileError
from relay_server.sources.recording import RecordingError, parse_recording
from tests.avatar_relay.sound.ogg_muxing import opus_head
from tests.avatar_relay.sound.streams import BEGINNINGS
from tests.lab.recordings import motion_messages, recording

HANG_S = 1.0
"""Limit of CPU time per case; machine load does not count."""
STUCK_S = 10.0
"""Limit of wall-clock time per case, for a parser that waits."""
MAX_CASE_BYTES = 64 << 10
PCM_16K = AudioFormat(Codec.PCM_S16LE, 16_000)
WEIGHTS = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 30.0, ("jawOpen", "mouthClose"))
AVATARKIT = MotionFormat(MotionEncoding.AVATARKIT_V2)


@dataclass(frozen=True, slots=True)
class Target:
    """A parser: valid samples, its call, its declared errors, and how much less often it is tried than others."""

    name: str
    samples: tuple[bytes, ...]
    parse: Callable[[bytes], object]
    declared: tuple[type[Exception], ...]
    rarely: int = 1


def mutate(chance: random.Random, samples: tuple[bytes, ...]) -> bytes:
    """Build one case."""
    if chance.random() < 0.02:
        return chance.randbytes(chance.randrange(300))
    data = bytearray(chance.choice(samples))
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1 if at < len(data):
                data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
            case 2:
                del data[at:]
            case 3:
                del data[at : at + chance.randrange(16)]
            case 4:
                data[at:at] = chance.randbytes(chance.randrange(1, 16))
            case 5:
                data[at:at] = data[at : at + chance.randrange(1, 64)]
            case _:
                other = chance.choice(samples)
                start = chance.randrange(len(other) + 1)
                data[at:] = other[start:]
    return bytes(data[:MAX_CASE_BYTES])


# --- the parsers ---------------------------------------------------------------------------------------------------


def _messages() -> list[Target]:
    open_ = ConversationOpen("c-1", PCM_16K, WEIGHTS)
    payloads = (Payload(Kind.AUDIO, 1, b"\0" * 64, 0, 2_000), Payload(Kind.MOTION, 1, b"\0" * 100, 0, 40_000, 0, 200))
    common: tuple[Any, ...] = (m.Media("c-1", payloads), m.AudioOnly("c-1"), m.ConversationEnd("c-1", 1, 1), m.Interrupt("c-1"), open_)
    fault = m.ConversationError("c-1", Fault(Reason.SEQUENCE_GAP, "a gap", "media"), "lobby")
    limits = m.Limits(1, 2, 3, 4, 5)
    hello = m.Hello("lobby", 1, "x", tuple(Codec), 48_000, tuple(MotionEncoding), Credit(1, 2), "t", (Cursor("c-1", 1, 2),), m.Volume(0.5))
    event = m.PlayerEvent(1, "c-1", m.Finished(1, interrupted=False, reason="completed"), "lobby")
    parts = Parts((Part("sound", PartState.FAILING, "x", "y", 1),))
    from_device = (
        hello,
        parts,
        Credit(1, 2),
        m.Held((Cursor("c-1", 1, 2),), "lobby"),
        event,
        m.Ping(1, 2),
        m.Goodbye("x"),
        fault,
        m.Volume(0.5),
    )
    to_device = (*common, m.Welcome("t", limits, 1, 2, ("c-1",), ("c-2",)), m.Volume(0.5), m.EventAck(1), m.GoAway("x", 1, "b:2"), fault)
    again = m.PublishOpen(open_, ("lobby",), Cursor("c-1", 1, 2))
    from_publisher = (*common[:-1], again, m.PublisherHello("p", 1, "x", "t"), m.DeviceVolume("lobby", m.Volume(1.0)), m.Ping(1, 2))
    taken = m.PublisherWelcome("t", limits, (m.Taken(Cursor("c-1", 1, 2), 3, 4),))
    to_publisher = (taken, m.Opened("c-1", ("lobby",)), m.ConversationCredit("c-1", Credit(1, 2)), event, fault, m.Pong(1, 2, 3, 4, 5))
    joined = (m.Joined((common[0], common[1], m.Media("c-2", payloads))),)
    legs: tuple[tuple[str, tuple[Any, ...], Callable[[Any], Any], Callable[[bytes], object]], ...] = (
        ("AttachRequest", from_device, wire.attach_request_to_wire, _as(device.AttachRequest, wire.attach_request_from_wire)),
        ("AttachResponse", to_device, wire.attach_response_to_wire, _as(device.AttachResponse, wire.attach_response_from_wire)),
        ("PublishRequest", from_publisher + joined, wire.publish_request_to_wire, _published),
        ("PublishResponse", to_publisher, wire.publish_response_to_wire, _as(backend.PublishResponse, wire.publish_response_from_wire)),
    )
    return [
        Target(name, tuple(encode(message).SerializeToString() for message in said), read, (DecodeError, wire.WireError))
        for name, said, encode, read in legs
    ]


def _as(type_: Any, decode: Callable[[Any], object]) -> Callable[[bytes], object]:
    return lambda data: decode(type_.FromString(data))


def _published(data: bytes) -> None:
    """Parse as the relay does; media forwarded unchanged must have the same meaning for a device."""
    conversation_id = conversation_of_media(data)
    if (live := wire.live_media_in(data)) is not None:
        assert live.conversation_id == conversation_id
        assert live.columns == getattr(wire.publish_request_from_wire(backend.PublishRequest.FromString(data), data), "columns", None)
    if joined := wire.joined_data_in(data):
        assert list(backend.PublishRequest.FromString(data).joined.requests) == [backend.PublishRequest.FromString(one) for one in joined]
    for request, its_data in wire.requests_in(backend.PublishRequest.FromString(data), data):
        message = wire.publish_request_from_wire(request, its_data)
        if isinstance(message, m.PublishedMedia) and message.encoded is not None:
            assert device.AttachResponse.FromString(message.encoded.data).media == request.media
            for kind, count in message.encoded.counts.items():
                assert len(message.encoded.entries(kind)) == count


def _fragments(data: bytes) -> object:
    """Interpret bytes as a sequence of fragments with arbitrary numbers."""
    part, numbers = Reassembler(Kind.AUDIO), list(data[:48])
    for at in range(0, len(numbers) - 5, 6):
        seq, offset, total, size, scale, kind = numbers[at : at + 6]
        factor = 1 << (scale % 22)
        payload = Payload(Kind.MOTION if kind == 255 else Kind.AUDIO, seq, b"x" * size, 0, 0, offset * factor, total * factor)
        try:
            part.add(payload)
        except FragmentError:
            part.pending_bytes  # noqa: B018 - must not raise
    return part


def _audio(format_: AudioFormat) -> Callable[[bytes], object]:
    def parse(data: bytes) -> object:
        decoder = make_decoder(format_, 48_000)
        half = len(data) // 2
        try:
            decoder.decode(data[:half] if format_.codec is not Codec.OPUS else data)
            decoder.decode(data[half:] if format_.codec is not Codec.OPUS else data)
        finally:
            decoder.finish()
        return None

    return parse


def _sniffed(data: bytes) -> object:
    """More bytes never change a verdict, and eventually decide it."""
    verdicts = [sniff(data[:size]) for size in (1, 12, 100, len(data))]
    assert verdicts[-1] is sniff(data + bytes(HEAD_BYTES)) or verdicts[-1] is Container.UNDECIDED
    return verdicts


def _wav_chunks(data: bytes) -> object:
    """Parsing whole or in pieces must return the same samples."""
    whole, pieces = WavReader(lambda _: None), WavReader(lambda _: None)
    samples = whole.feed(data)
    assert samples == b"".join(pieces.feed(data[at : at + 97]) for at in range(0, len(data), 97))
    return samples


def _wav(data: bytes) -> object:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(data)
        file.flush()
        sound = AudioFile(Path(file.name))
        try:
            return sum(len(block) for block in sound.blocks(0.5))
        finally:
            sound.close()


def _config(load: Callable[[Path], object]) -> Callable[[bytes], object]:
    def parse(data: bytes) -> object:
        with tempfile.NamedTemporaryFile(suffix=".toml") as file:
            file.write(data)
            file.flush()
            return load(Path(file.name))

    return parse


def _sound_file(format_: str, subtype: str) -> bytes:
    tone = (0.3 * np.sin(np.arange(4_800) / 10)).astype("<f4")
    file = io.BytesIO()
    soundfile.write(file, tone, 48_000, format=format_, subtype=subtype)
    return file.getvalue()


def targets() -> list[Target]:
    """All parsers."""
    ogg, wav = _sound_file("OGG", "OPUS"), _sound_file("WAV", "PCM_16")
    packets = (bytes([0xF8]) + bytes(40), bytes([0xFB, 0x03]) + bytes(60), bytes([0x08, 1, 2, 3]), bytes([0xFC, 0xFF, 0xFE]))
    motion = motion_messages((3, 2), "r-1")
    rows = np.zeros((4, 2), "<f4").tobytes()
    relay_toml = b'listen = "127.0.0.1:0"\nchannelz = true\ndrain_grace_ms = 5000\n[groups]\nall = ["a", "b"]\n'
    edge_toml = b'relay = "127.0.0.1:52000"\nrate_hz = 48000\nsize = "800x480"\nvolume = 0.5\nheadless = true\n'
    config = (ConfigError, EdgeError)

    def relay_config(path: Path) -> object:
        return load_config(build_parser().parse_args(["--config", str(path)]), {})

    def edge_config(path: Path) -> object:
        return load_edge_config({}, {}, file=path)

    return [
        *_messages(),
        Target(
            "Payload",
            (media_pb2.Payload(kind=media_pb2.KIND_AUDIO, seq=1, data=b"x" * 50).SerializeToString(),),
            _payload,
            (DecodeError, wire.WireError),
        ),
        Target("fragments", (bytes([1, 0, 4, 2, 0, 0] * 8), bytes([1, 0, 2, 1, 0, 0, 1, 1, 2, 1, 0, 0])), _fragments, ()),
        Target("Ogg Opus", (ogg,), _audio(AudioFormat(Codec.OGG_OPUS)), (SoundError,), rarely=20),
        Target("Opus", packets, _audio(AudioFormat(Codec.OPUS)), (SoundError,), rarely=4),
        Target("PCM", (bytes(101), wav), _audio(PCM_16K), (SoundError,), rarely=4),
        Target("OpusHead", (opus_head(), opus_head(channels=2, mapping_family=1, table=b"\1\1\0\1")), parse_head, (SoundError,)),
        Target("first bytes", tuple(BEGINNINGS.values()), _sniffed, ()),
        Target("WAV chunks", (wav, _sound_file("RF64", "PCM_16"), _sound_file("WAVEX", "PCM_16")), _wav_chunks, (SoundError,)),
        Target("Opus packet", packets, packet_duration_us, (ValueError,)),
        Target("AvatarKit message", motion, avatarkit.read, (avatarkit.AvatarKitError,)),
        Target("AvatarKit motion", motion, lambda data: make_motion_decoder(AVATARKIT).decode(data), (EdgeError,), rarely=4),
        Target("ARKit weights", (rows,), lambda data: make_motion_decoder(WEIGHTS).decode(data), (EdgeError,)),
        Target("WAV", (wav, _sound_file("FLAC", "PCM_16"), ogg), _wav, (AudioFileError,), rarely=20),
        Target(
            "recording", (json.dumps(recording((3, 2), 8_000)).encode()[:MAX_CASE_BYTES],), parse_recording, (RecordingError,), rarely=20
        ),
        Target("relay configuration", (relay_toml,), _config(relay_config), config, rarely=20),
        Target("device configuration", (edge_toml,), _config(edge_config), config, rarely=20),
    ]


def _payload(data: bytes) -> object:
    return wire.payload_from_wire(media_pb2.Payload.FromString(data), "c-1")


# --- trying --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """Results for one parser."""

    cases: int = 0
    refused: int = 0
    crashes: int = 0
    hangs: int = 0
    slowest_ms: float = 0.0
    """CPU time of the slowest case."""


def run(cases: int, seed: int, tell: Callable[[str], None]) -> dict[str, Tally]:
    """Run `cases` cases; `tell` is called with each violation."""
    chance, all_targets = random.Random(seed), targets()
    turns = [target for target in all_targets for _ in range(20 // target.rarely)]
    tallies = {target.name: Tally() for target in all_targets}
    for _ in range(cases):
        target = chance.choice(turns)
        data, tally = mutate(chance, target.samples), tallies[target.name]
        tally.cases += 1
        began, cpu_began = time.perf_counter(), time.thread_time()
        try:
            target.parse(data)
        except target.declared:
            tally.refused += 1
        except Exception:
            tally.crashes += 1
            tell(f"{target.name} on {data[:200].hex()}: {traceback.format_exc(limit=-3)}")
        took_s, worked_s = time.perf_counter() - began, time.thread_time() - cpu_began
        tally.slowest_ms = max(tally.slowest_ms, round(worked_s * 1e3, 1))
        if worked_s > HANG_S or took_s > STUCK_S:
            tally.hangs += 1
            tell(f"{target.name} worked {worked_s:.1f} s and took {took_s:.1f} s on {data[:200].hex()}")
    return tallies
