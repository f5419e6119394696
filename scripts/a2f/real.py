"""Runs NVIDIA's own messages and stubs in an environment without our packages. Prints one JSON document per line.

describe        the fields of all messages that a call can contain
requests        reads requests as hex, one per line; prints them parsed, and serialized again
answers         responses of every shape: as hex, and parsed
serve           a service on a free port; prints the port, then the received and sent messages of each call
call TARGET     one call of the service at TARGET, with a second of sound; prints the responses
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterable, Iterator
from concurrent import futures
from importlib.metadata import version
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.unknown_fields import UnknownFieldSet
from nvidia_ace.animation_pb2 import AnimationData, Float3, Float3ArrayWithTimeCode, FloatArrayWithTimeCode
from nvidia_audio2face_3d.audio2face_pb2_grpc import (
    A2FControllerServiceServicer,
    A2FControllerServiceStub,
    add_A2FControllerServiceServicer_to_server,
)
from nvidia_audio2face_3d.messages_pb2 import A2F3DAnimationDataStream, AudioWithEmotionStream, EmotionAggregate

RATE_HZ = 16_000
KEYFRAMES_PER_SECOND = 30
NAMES = ("JawOpen", "MouthClose", "TongueOut")


def say(document: Any) -> None:
    """Print a document as one line of JSON."""
    print(json.dumps(document), flush=True)


def describe(message: Any, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a message type by number, with nested messages."""
    fields = {}
    for field in message.fields:
        inner = field.message_type if field.message_type is not None and field.message_type.full_name not in seen else None
        fields[field.number] = {
            "name": field.name,
            "type": field.type,
            "repeated": field.is_repeated,
            "presence": field.has_presence,
            "oneof": field.containing_oneof.name if field.containing_oneof is not None else "",
            "fields": describe(inner, (*seen, inner.full_name)) if inner is not None else {},
        }
    return fields


def written(message: Any) -> str:
    """Serialize to bytes, with maps sorted by key."""
    return str(message.SerializeToString(deterministic=True).hex())


def header(rate_hz: int, names: Iterable[str] = NAMES) -> Any:
    """The first response."""
    message = A2F3DAnimationDataStream()
    said = message.animation_data_stream_header
    said.audio_header.channel_count = 1
    said.audio_header.samples_per_second = rate_hz
    said.audio_header.bits_per_sample = 16
    said.skel_animation_header.blend_shapes.extend(names)
    said.start_time_code_since_epoch = 1.7e9
    return message


def animation(index: int, pcm: bytes) -> Any:
    """A keyframe with sound, distinct weights, and an aggregate of emotions as a service sends it."""
    data = AnimationData()
    weights = [(index * 7 + column) % 97 / 97 for column in range(len(NAMES))]
    data.skel_animation.blend_shape_weights.append(FloatArrayWithTimeCode(time_code=index / KEYFRAMES_PER_SECOND, values=weights))
    data.audio.time_code = index / KEYFRAMES_PER_SECOND
    data.audio.audio_buffer = pcm
    aggregate = EmotionAggregate()
    aggregate.a2f_smoothed_output.add(time_code=1.0).emotion["joy"] = 0.5
    data.metadata["emotion_aggregate"].Pack(aggregate)
    return A2F3DAnimationDataStream(animation_data=data)


def answers() -> Iterator[Any]:
    """Responses of every shape, including parts that a relay ignores."""
    yield header(22_050)
    yield header(48_000, ())
    yield A2F3DAnimationDataStream(animation_data_stream_header={})
    yield animation(0, b"")
    yield animation(41, b"\1\0\2\0")
    full = animation(3, b"\1\0")
    full.animation_data.skel_animation.translations.append(Float3ArrayWithTimeCode(time_code=0.5, values=[Float3(x=1)]))
    full.animation_data.camera.position.add(time_code=2.0).value.x = 3.0
    yield full
    yield A2F3DAnimationDataStream(animation_data={})
    event = A2F3DAnimationDataStream(event={"event_type": 0})
    event.event.metadata.Pack(EmotionAggregate())
    yield event
    for code in range(4):
        yield A2F3DAnimationDataStream(status={"code": code, "message": "so"})
    yield A2F3DAnimationDataStream()


class Service(A2FControllerServiceServicer):  # type: ignore[misc]
    """Receives a clip, responds as it arrives, and reports what it received."""

    def ProcessAudioStream(self, request_iterator: Iterator[Any], context: Any) -> Iterator[Any]:
        heard: list[str] = []
        rows: list[list[float]] = []
        audio, rate_hz = b"", 0
        for request in request_iterator:
            heard.append(written(request))
            if request.HasField("audio_stream_header"):
                rate_hz = request.audio_stream_header.audio_header.samples_per_second
                yield header(rate_hz)
            audio += request.audio_with_emotion.audio_buffer
            while len(audio) >= round((len(rows) + 1) * rate_hz / KEYFRAMES_PER_SECOND) * 2 > 0:
                start, end = (round((len(rows) + step) * rate_hz / KEYFRAMES_PER_SECOND) * 2 for step in (0, 1))
                answer = animation(len(rows), audio[start:end])
                rows.append(list(answer.animation_data.skel_animation.blend_shape_weights[0].values))
                yield answer
            if request.HasField("end_of_audio"):
                break
        yield A2F3DAnimationDataStream(event={"event_type": 0})
        yield A2F3DAnimationDataStream(status={"code": 0, "message": "done"})
        packed = [struct.pack(f"<{len(row)}f", *row).hex() for row in rows]
        say({"requests": heard, "rows": packed, "rate_hz": rate_hz, "metadata": dict(context.invocation_metadata())})


def serve() -> None:
    """Serve until standard input ends."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    add_A2FControllerServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say({"port": port, "grpcio": version("grpcio"), "protobuf": version("protobuf")})
    sys.stdin.read()
    server.stop(0)


def call(target: str) -> None:
    """Call the service with the real client stub."""

    def requests() -> Iterator[Any]:
        first = AudioWithEmotionStream()
        audio = first.audio_stream_header.audio_header
        audio.channel_count, audio.samples_per_second, audio.bits_per_sample = 1, RATE_HZ, 16
        yield first
        for index in range(10):
            yield AudioWithEmotionStream(audio_with_emotion={"audio_buffer": bytes([index, 0]) * (RATE_HZ // 10)})
        yield AudioWithEmotionStream(end_of_audio={})

    with grpc.insecure_channel(target) as channel:
        for answer in A2FControllerServiceStub(channel).ProcessAudioStream(requests()):
            say({"part": answer.WhichOneof("stream_part"), **MessageToDict(answer, preserving_proto_field_name=True)})


def main(arguments: list[str]) -> None:
    """Run the command named by the first argument."""
    match arguments:
        case ["describe"]:
            say({"request": describe(AudioWithEmotionStream.DESCRIPTOR), "answer": describe(A2F3DAnimationDataStream.DESCRIPTOR)})
        case ["requests"]:
            for line in sys.stdin:
                message = AudioWithEmotionStream.FromString(bytes.fromhex(line))
                read = MessageToDict(message, preserving_proto_field_name=True)
                say({"written": written(message), "unknown": len(UnknownFieldSet(message)), "read": read})
        case ["answers"]:
            for message in answers():
                say({"written": written(message), "read": MessageToDict(message, preserving_proto_field_name=True)})
        case ["serve"]:
            serve()
        case ["call", target]:
            call(target)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
