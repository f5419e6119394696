"""Compares our Audio2Face-3D messages and source with NVIDIA's own packages, which run in a separate environment.

compare.py PYTHON [FOLDER]    the Python of that environment, and a folder of NVIDIA's .proto files; exits with 1 if anything differs
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_tools import protoc

from avatar_relay import weights
from avatar_relay.media import AudioFormat, Codec
from relay_server.sources.audio2face import schema, wire
from relay_server.sources.audio2face.settings import MIN_RATE_HZ, Audio2FaceSettings, Emotion, EmotionStrengths
from relay_server.sources.audio2face.source import Audio2FaceSource
from relay_server.sources.local.source import LocalSource
from relay_server.sources.source import AudioChunk, AudioSpeech, MotionChunk, MotionLost
from relay_server.sources.speech import SpeechSource
from scripts.compile_protos import package_folder
from tests.lab.services.audio2face import NAMES, Audio2FaceService, serving

REAL = Path(__file__).with_name("real.py")
TYPE_ENUM, TYPE_INT32 = 14, 5
EMOTIONS = (Emotion(0.0, {"joy": 0.5, "anger": 0.25, "fear": 0.0}), Emotion(1.5, {"sadness": 1.0}))
REQUESTS = (
    *(wire.write_header(rate_hz, EmotionStrengths(), has_emotions=False) for rate_hz in (16_000, 22_050, 24_000, 44_100, 48_000)),
    wire.write_header(16_000, EmotionStrengths(0.25, 0.5), has_emotions=True),
    wire.write_header(16_000, EmotionStrengths(0.0, None), has_emotions=False),
    wire.write_audio(b"\1\0" * 8_000),
    wire.write_audio(b"\1\0", EMOTIONS),
    wire.write_end(),
)


def check(*, holds: bool, what: str) -> None:
    """Print the check, and exit if it fails."""
    print("ok  " if holds else "NOT ", what, flush=True)
    if not holds:
        sys.exit(1)


def ask(python: str, *arguments: str, told: str = "") -> list[Any]:
    """Run `real.py`; returns the JSON documents of the real packages."""
    done = subprocess.run([python, REAL, *arguments], input=told, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def differences(ours: Any, theirs: dict[str, Any], where: str) -> list[str]:
    """Differences between our fields and theirs, recursively: number, name, type, repetition, presence, oneof."""
    found = []
    for field in ours.fields:
        real = theirs.get(str(field.number))
        path = f"{where}.{field.name}"
        if real is None:
            found.append(f"{path}: no number {field.number}")
            continue
        type_ = TYPE_INT32 if real["type"] == TYPE_ENUM else real["type"]
        oneof = field.containing_oneof.name if field.containing_oneof is not None else ""
        same_oneof = oneof == real["oneof"] or (field.message_type is not None and real["oneof"] == f"_{field.name}")
        if (field.name, field.type, field.is_repeated, field.has_presence) != (real["name"], type_, real["repeated"], real["presence"]):
            found.append(f"{path}: {real}")
        elif not same_oneof:
            found.append(f"{path}: oneof {oneof!r}, not {real['oneof']!r}")
        if field.message_type is not None:
            found += differences(field.message_type, real["fields"], path)
    return found


def compare_schema(python: str) -> None:
    """Compare the message definitions field by field."""
    (real,) = ask(python, "describe")
    for name, ours in (("request", schema.AudioStream), ("answer", schema.AnimationStream)):
        found = differences(ours.DESCRIPTOR, real[name], name)
        check(holds=not found, what=f"every field of our {name} is theirs: number, name, type, repetition, presence, oneof {found or ''}")


def compare_protos(folder: Path) -> None:
    """Compare the definitions field by field with the .proto files of a release: `proto/protobuf_files` of NVIDIA's samples."""
    image = Path(tempfile.mkdtemp()) / "image.binpb"
    includes = [f"-I{folder}", f"-I{package_folder('grpc_tools') / '_proto'}"]
    files = sorted(path.name for path in folder.glob("*.proto"))
    check(holds=protoc.main(["protoc", *includes, "--include_imports", f"--descriptor_set_out={image}", *files]) == 0, what=f"{folder}")
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file:
        pool.Add(file)
    for name, ours in (("AudioStream", schema.AudioStream), ("AnimationDataStream", schema.AnimationStream)):
        theirs = described(pool.FindMessageTypeByName(f"nvidia_ace.controller.v1.{name}"))
        found = differences(ours.DESCRIPTOR, theirs, name)
        check(holds=not found, what=f"every field of our {name} is in their .proto files {found or ''}")


def described(message: Any) -> dict[str, Any]:
    """Describe a message type in the format of `real.py describe`; recursive messages are described once."""
    return {str(field.number): _described_field(field) for field in message.fields}


def _described_field(field: Any) -> dict[str, Any]:
    return {
        "name": field.name,
        "type": field.type,
        "repeated": field.is_repeated,
        "presence": field.has_presence,
        "oneof": "" if field.containing_oneof is None else field.containing_oneof.name,
        "fields": {} if field.message_type is None else described(field.message_type),
    }


def compare_requests(python: str) -> None:
    """Compare our requests as parsed and serialized by their messages."""
    answers = ask(python, "requests", told="".join(f"{request.hex()}\n" for request in REQUESTS))
    same = [answer["written"] == request.hex() and not answer["unknown"] for request, answer in zip(REQUESTS, answers, strict=True)]
    check(holds=all(same), what=f"{len(same)} requests of ours are read by theirs and written again byte for byte")
    timed = answers[8]["read"]["audio_with_emotion"]["emotions"]
    read = [(emotion.get("time_code", 0.0), emotion["emotion"]) for emotion in timed]
    check(holds=read == [(emotion.time_s, emotion.strengths) for emotion in EMOTIONS], what="… and mean the same")


def compare_answers(python: str) -> None:
    """Compare their responses as parsed and serialized by our messages."""
    answers = ask(python, "answers")
    messages = [schema.AnimationStream.FromString(bytes.fromhex(answer["written"])) for answer in answers]
    again = [schema.AnimationStream.FromString(message.SerializeToString()) for message in messages]
    check(holds=messages == again, what=f"{len(messages)} answers of theirs are read by ours; what we do not know is kept")
    plain = [(m, a) for m, a in zip(messages, answers, strict=True) if "metadata" not in json.dumps(a["read"])]
    same = [message.SerializeToString(deterministic=True).hex() == answer["written"] for message, answer in plain]
    check(holds=all(same), what=f"{len(same)} of them, which hold nothing else, are written again byte for byte")
    read = [wire.read_answer(bytes.fromhex(answer["written"])) for answer in answers]
    kinds = [type(answer).__name__ for answer in read]
    expected = ["Header"] * 3 + ["Animation"] * 4 + ["Processed"] + ["ServiceStatus"] * 4 + ["Unknown"]
    check(holds=kinds == expected, what="… and mean the same")
    row = read[4].keyframes[0] if isinstance(read[4], wire.Animation) else None
    weights_ = answers[4]["read"]["animation_data"]["skel_animation"]["blend_shape_weights"][0]["values"]
    check(holds=row is not None and row.weights.tolist() == np.float32(weights_).tolist(), what="… down to the weights")


async def compare_calls(python: str) -> None:
    """Run our source against their service."""
    process = await asyncio.create_subprocess_exec(
        python, str(REAL), "serve", stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=64 << 20
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        started = json.loads(await process.stdout.readline())
        for rate_hz in (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000):
            await compare_call(process.stdout, f"127.0.0.1:{started['port']}", rate_hz)
        print(f"     (their grpcio {started['grpcio']}, protobuf {started['protobuf']})")
    finally:
        process.stdin.close()
        await process.wait()


async def compare_call(out: asyncio.StreamReader, target: str, rate_hz: int) -> None:
    """Run one conversation at one rate, and compare requests, sound and rows."""
    sound = np.random.default_rng(rate_hz).integers(-9_000, 9_000, round(3.3 * rate_hz)).astype("<i2").tobytes()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(sound), 5_001):
            yield sound[start : start + 5_001]

    settings = Audio2FaceSettings(target=target, emotions=EMOTIONS, emotion_strength=0.5)
    source = Audio2FaceSource(settings, text=SpeechSource(), audio=LocalSource())
    performance = await source.perform(AudioSpeech(AudioFormat(Codec.PCM_S16LE, rate_hz), chunks()))
    items = [item async for item in performance.items]
    await source.close()
    heard = json.loads(await out.readline())
    assert performance.motion_format is not None
    check(holds=not any(isinstance(item, MotionLost) for item in items), what=f"{rate_hz} Hz: a conversation with the real stubs")
    names = len(performance.motion_format.blendshape_names)
    rows = np.vstack([weights.read(item.data, names) for item in items if isinstance(item, MotionChunk)])
    check(holds=[row.tobytes().hex() for row in rows] == heard["rows"], what=f"{len(rows)} rows as they were sent")
    played = b"".join(item.data for item in items if isinstance(item, AudioChunk))
    sent = [wire_audio(bytes.fromhex(request)) for request in heard["requests"]]
    check(holds=b"".join(sent) == played, what=f"{len(played)} bytes of sound are what they heard")
    if rate_hz >= MIN_RATE_HZ:
        check(holds=played == sound, what="… and what was spoken")
    headers = wire.write_header(max(rate_hz, MIN_RATE_HZ), settings.strengths, has_emotions=True), wire.write_end()
    ends = bytes.fromhex(heard["requests"][0]), bytes.fromhex(heard["requests"][-1])
    check(holds=ends == headers, what="header and end byte for byte")


def wire_audio(request: bytes) -> bytes:
    """The sound in a request."""
    audio: bytes = schema.AudioStream.FromString(request).audio_with_emotion.audio_buffer
    return audio


async def compare_standin(python: str) -> None:
    """Run their client against the fake service of our tests."""
    service = Audio2FaceService()
    async with serving(service) as target:
        answers = await asyncio.to_thread(ask, python, "call", target)
    (heard,) = service.calls
    rows = [frame["values"] for answer in answers for frame in frames_of(answer)]
    parts = [answer["part"] for answer in answers]
    check(
        holds=parts[0] == "animation_data_stream_header" and parts[-1] == "status", what="the real client at our stand-in: header to status"
    )
    same = np.array_equal(np.array(rows, np.float32), np.array(heard.rows))
    check(holds=same and len(rows) == 30 and len(rows[0]) == len(NAMES), what=f"{len(rows)} rows as the stand-in sent them")


def frames_of(answer: Any) -> list[Any]:
    """The keyframes in a response document."""
    frames: list[Any] = answer.get("animation_data", {}).get("skel_animation", {}).get("blend_shape_weights", [])
    return frames


def main(python: str, protos: Path | None = None) -> None:
    """Run all comparisons."""
    if protos is not None:
        compare_protos(protos)
    compare_schema(python)
    compare_requests(python)
    compare_answers(python)
    asyncio.run(compare_calls(python))
    asyncio.run(compare_standin(python))


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:3]))
