"""Attacks by a caller with credentials on a relay and other tenants. Same structure as `strangers`; tokens are in the environment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import grpc

from avatar_relay.credentials import metadata_of
from avatar_relay.v1 import admin_service_pb2 as admin_pb
from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb
from tests.lab.attack import http2
from tests.lab.attack.strangers import Attack, half_sent, rounds, seen

OPTIONS = [("grpc.max_send_message_length", 1 << 27), ("grpc.max_receive_message_length", 1 << 27), ("grpc.use_local_subchannel_pool", 1)]
PCM = pb.AudioFormat(codec=pb.AudioFormat.CODEC_PCM_S16LE, sample_rate_hz=16_000)
OTHER = "vault"
"""The honest tenant's device."""
MINE = "mallory"
REFUSED = b"DEVICE_FORBIDDEN"


def token(role: str) -> str:
    """The attacker's token for a role."""
    return os.environ[f"ATTACK_{role.upper()}"]


def hello(name: str = MINE, **more: Any) -> bytes:
    """A device's first message."""
    buffer = pb.Credit(audio_bytes=1 << 20, motion_bytes=1 << 20)
    known = device_pb.Hello(device_id=name, protocol_version=1, output_rate_hz=48_000, buffer=buffer)
    known.codecs.extend([pb.AudioFormat.CODEC_PCM_S16LE, pb.AudioFormat.CODEC_OPUS])
    known.motion_encodings.append(pb.MotionFormat.ENCODING_BLENDSHAPE_WEIGHTS)
    known.MergeFrom(device_pb.Hello(**more))
    return device_pb.AttachRequest(hello=known).SerializeToString()


def opening(targets: Iterable[str] = (MINE,), names: Iterable[str] = (), cid: str = "", state: str = "") -> bytes:
    """A publisher's request to open a conversation."""
    open_ = pb.ConversationOpen(conversation_id=cid, audio_format=PCM, pacing=pb.PACING_BURST, on_playing=pb.ON_PLAYING_QUEUE)
    if names:
        open_.motion_format.encoding = pb.MotionFormat.ENCODING_BLENDSHAPE_WEIGHTS
        open_.motion_format.keyframes_per_second = 30
        open_.motion_format.blendshape_names.extend(names)
    open_.trace_context.tracestate = state
    return publisher_pb.PublishRequest(open=publisher_pb.PublishOpen(open=open_, targets=targets)).SerializeToString()


def media(cid: str, data: bytes = bytes(3_200), count: int = 1, seq: int = 1) -> bytes:
    """A message of media payloads."""
    payloads = [pb.Payload(kind=pb.KIND_AUDIO, seq=seq + number, duration_us=1, data=data) for number in range(count)]
    return publisher_pb.PublishRequest(media=pb.Media(conversation_id=cid, payloads=payloads)).SerializeToString()


def introduced(*messages: bytes, name: str = "p") -> list[bytes]:
    """A publisher's hello, followed by `messages`."""
    said = publisher_pb.PublisherHello(publisher_id=name, protocol_version=1)
    return [publisher_pb.PublishRequest(hello=said).SerializeToString(), *messages]


def stream(address: str, role: str, method: str, messages: Callable[[], Iterable[bytes]], seconds: float, *, streams: int = 1) -> str:
    """Send `messages` repeatedly on `streams` parallel streams, reading responses; reopen a stream that ends."""
    left, begun, ends = rounds(seconds), 0, dict[str, int]()
    with grpc.insecure_channel(address, OPTIONS) as channel:
        call: Any = channel.stream_stream(method)
        while left():
            open_ = []
            for _ in range(streams):
                open_.append(call(_paced(messages(), left), metadata=metadata_of(token(role)), timeout=max(0.2, seconds)))
                begun += 1
            for one in open_:
                try:
                    for response in one:
                        if REFUSED not in response:  # such a response repeats the requested names
                            seen.extend(response[: 1 << 16])
                        if not left():
                            one.cancel()
                except grpc.RpcError as error:
                    code: Any = error
                    ends[code.code().name] = ends.get(code.code().name, 0) + 1
            time.sleep(0.02)
    return f"{begun} streams; {ends}"


def _paced(messages: Iterable[bytes], left: Callable[[], bool]) -> Iterator[bytes]:
    for one in messages:
        if not left():
            return
        yield one
    while left():
        time.sleep(0.1)


def unary(method: str, request: bytes, address: str, seconds: float) -> str:
    """Repeat an operator's call, one after another."""
    left, ends, count = rounds(seconds), dict[str, int](), 0
    with grpc.insecure_channel(address, OPTIONS) as channel:
        call: Any = channel.unary_unary(http2.ADMIN + method)
        while left():
            count += 1
            try:
                seen.extend(call(request, metadata=metadata_of(token("operator")), timeout=5)[: 1 << 16])
            except grpc.RpcError as error:
                code: Any = error
                ends[code.code().name] = ends.get(code.code().name, 0) + 1
    return f"{count} calls; {ends}"


def watches(request: bytes, method: str, role: str, address: str, seconds: float) -> str:
    """Open as many watches as are admitted, without reading their events."""
    left, open_ = rounds(seconds), []
    with grpc.insecure_channel(address, OPTIONS) as channel:
        call: Any = channel.unary_stream(method)
        while left():
            open_.append(call(request, metadata=metadata_of(token(role))))
            time.sleep(0.02 if len(open_) < 100 else 0.5)
        for one in open_:
            one.cancel()
    return f"{len(open_)} watches"


def _event(number: int, text: str) -> bytes:
    event = pb.PlayerEvent(event_id=number, conversation_id="c", finished=pb.PlaybackFinished(reason=text))
    return device_pb.AttachRequest(event=event).SerializeToString()


def _device(*messages: bytes) -> Callable[[], list[bytes]]:
    return lambda: [hello(), *messages]


def _publisher(*messages: bytes) -> Callable[[], list[bytes]]:
    return lambda: introduced(*messages)


def _as_device(messages: Callable[[], Iterable[bytes]], streams: int = 1) -> Attack:
    return lambda address, seconds: stream(address, "device", http2.ATTACH, messages, seconds, streams=streams)


def _as_publisher(messages: Callable[[], Iterable[bytes]], streams: int = 1) -> Attack:
    return lambda address, seconds: stream(address, "publisher", http2.PUBLISH, messages, seconds, streams=streams)


LONG = "x" * 3_000_000
CURSORS = [pb.Cursor(conversation_id=f"{number:05x}") for number in range(200_000)]
ACKS = publisher_pb.PublishRequest(
    joined=publisher_pb.JoinedRequests(requests=[publisher_pb.PublishRequest(event_ack=pb.EventAck(device_id="x"))] * 256)
).SerializeToString()
EMPTY = publisher_pb.PublishRequest(media=pb.Media(conversation_id="c", payloads=[pb.Payload()] * 1_900_000)).SerializeToString()
PING = device_pb.AttachRequest(ping=pb.Ping(id=1)).SerializeToString()
CREDIT = device_pb.AttachRequest(credit=pb.Credit(audio_bytes=1 << 40, motion_bytes=1 << 40)).SerializeToString()
TOUCH = [
    publisher_pb.PublishRequest(interrupt=pb.Interrupt(conversation_id="honest")).SerializeToString(),
    publisher_pb.PublishRequest(end=pb.ConversationEnd(conversation_id="honest", last_audio_seq=1)).SerializeToString(),
    publisher_pb.PublishRequest(volume=publisher_pb.DeviceVolume(device_id=OTHER, volume=pb.SetVolume(gain=0.0))).SerializeToString(),
    media("honest"),
    opening([OTHER]),
]
INSIDERS: dict[str, Attack] = {
    "hello with 200,000 cursors": _as_device(lambda: [hello(session_token="t", cursors=CURSORS)]),
    "attach as another device": _as_device(lambda: [hello(OTHER)]),
    "16 Attach streams of one device": _as_device(_device(), streams=16),
    "Attach that never says hello": _as_device(list, streams=16),
    "events with reasons of 3 MB": _as_device(lambda: [hello(), *[_event(n, LONG) for n in range(1, 20)]]),
    "200,000 events": _as_device(lambda: [hello(), *[_event(n, "r") for n in range(1, 200_000)]]),
    "200,000 pings, answers unread": _as_device(lambda: [hello(), *[PING] * 200_000]),
    "credit without end": _as_device(lambda: [hello(), *[CREDIT] * 5_000]),
    "a device's message of 8 MB": _as_device(lambda: [hello(), bytes(8_000_000)]),
    "a device's message of 20 MB": _as_device(lambda: [hello(), bytes(20_000_000)]),
    "open with 590,000 targets": _as_publisher(_publisher(*[opening([MINE] * 590_000)] * 5)),
    "opens with 250 names of 15 KB": _as_publisher(_publisher(*[opening(names=[f"{n}{'n' * 15_000}" for n in range(250)])] * 30)),
    "opens with a tracestate of 3 MB": _as_publisher(_publisher(*[opening(state=LONG)] * 30)),
    "opens without end": _as_publisher(_publisher(*[opening()] * 20_000)),
    "unopened media without end": _as_publisher(_publisher(*[media(f"c{n}") for n in range(30_000)])),
    "1.9 million empty payloads": _as_publisher(_publisher(*[EMPTY] * 10)),
    "acknowledgements without end": _as_publisher(_publisher(*[ACKS] * 2_000)),
    "media of 64 KB, no credit": _as_publisher(_publisher(opening(cid="mine"), *[media("mine", bytes(16_000), 4)] * 500)),
    "200 publisher names": _as_publisher(lambda: introduced(name=f"p{os.urandom(4).hex()}"), streams=16),
    "16 streams by hand": _as_publisher(lambda: [opening()], streams=16),
    "another tenant's conversation": _as_publisher(_publisher(*TOUCH * 200)),
    "half-sent Publish, credentials": lambda address, seconds: half_sent(
        http2.PUBLISH, 8 << 20, 16, address, seconds, [("authorization", f"Bearer {token('publisher')}")]
    ),
    "half-sent Attach, credentials": lambda address, seconds: half_sent(
        http2.ATTACH, 8 << 20, 16, address, seconds, [("authorization", f"Bearer {token('device')}")]
    ),
    "Speak with 4 MB": partial(unary, "Speak", admin_pb.SpeakRequest(target=MINE, text="a" * 4_000_000).SerializeToString()),
    "GetDevice of another tenant": partial(unary, "GetDevice", admin_pb.GetDeviceRequest(device_id=OTHER).SerializeToString()),
    "ListDevices without end": partial(unary, "ListDevices", b""),
    "SetVolume of another tenant": partial(
        unary, "SetVolume", admin_pb.SetVolumeRequest(device_id=OTHER, volume=pb.SetVolume(gain=0)).SerializeToString()
    ),
    "Drain by a clerk": partial(unary, "Drain", b""),
    "WatchEvents without end": partial(
        watches, admin_pb.WatchEventsRequest(device_ids=[MINE]).SerializeToString(), http2.ADMIN + "WatchEvents", "operator"
    ),
    "WatchEvents of 590,000 names": partial(
        watches, admin_pb.WatchEventsRequest(device_ids=[MINE] * 590_000).SerializeToString(), http2.ADMIN + "WatchEvents", "operator"
    ),
    "Health.Watch of names of 60 KB": partial(watches, b"\x0a\xe0\xd4\x03" + b"s" * 60_000, http2.WATCH, "device"),
}
