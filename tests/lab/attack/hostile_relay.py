"""A relay that attacks its device: `python -m tests.lab.attack.hostile_relay NAME`. Prints its address, and each stream."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
from google.rpc import status_pb2

from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import media_pb2 as pb

R = device_pb.AttachResponse
LONG = "x" * 3_000_000
ANSI = "\n2026-01-01 00:00:00 INFO edge_client.app: \x1b[31mall is well\x1b[0m"
INT64 = 2**63


def welcome(**more: Any) -> device_pb.AttachResponse:
    """A relay's first message."""
    limits = pb.Limits(max_payload_bytes=2 << 20, max_message_bytes=4 << 20, max_fragment_bytes=16_384, lease_ms=30_000, heartbeat_ms=1_000)
    said = device_pb.Welcome(session_token="t", limits=limits, server_time_us=1, server_unix_time_us=time.time_ns() // 1_000)
    said.MergeFrom(device_pb.Welcome(**more))
    return R(welcome=said)


def opening(cid: str = "c", codec: Any = pb.AudioFormat.CODEC_PCM_S16LE, **more: Any) -> device_pb.AttachResponse:
    """Open a conversation."""
    rate = 48_000 if codec != pb.AudioFormat.CODEC_PCM_S16LE else 16_000
    format_ = pb.AudioFormat(codec=codec, sample_rate_hz=rate)
    return R(open=pb.ConversationOpen(conversation_id=cid, audio_format=format_, pacing=pb.PACING_BURST, **more))


def payload(seq: int, data: bytes, cid: str = "c", kind: Any = pb.KIND_AUDIO, **more: Any) -> device_pb.AttachResponse:
    """A media message."""
    return R(media=pb.Media(conversation_id=cid, payloads=[pb.Payload(kind=kind, seq=seq, data=data, **more)]))


def weights(names: list[str], rate: float = 30.0) -> pb.MotionFormat:
    """A motion format."""
    encoding = pb.MotionFormat.ENCODING_BLENDSHAPE_WEIGHTS
    return pb.MotionFormat(encoding=encoding, keyframes_per_second=rate, blendshape_names=names)


def opens() -> Iterator[device_pb.AttachResponse]:
    """Conversations without end, each queued after the others."""
    for number in range(200_000):
        yield opening(f"c{number}", on_playing=pb.ON_PLAYING_QUEUE)


def opens_with_names() -> Iterator[device_pb.AttachResponse]:
    """Conversations with 250 names of 15 KB each."""
    for number in range(100):
        names = [f"{at}{'n' * 15_000}" for at in range(250)]
        yield opening(f"c{number}", on_playing=pb.ON_PLAYING_QUEUE, motion_format=weights(names))


def unopened() -> Iterator[device_pb.AttachResponse]:
    """Media of conversations that are never opened."""
    for number in range(100_000):
        yield payload(1, bytes(3_200), f"c{number}")


def beyond_credit() -> Iterator[device_pb.AttachResponse]:
    """Far more sound than the device granted credit for."""
    yield opening()
    for seq in range(1, 20_000):
        yield payload(seq, bytes(16_384), pts_us=seq * 512_000, duration_us=512_000)


def motion_beyond_credit() -> Iterator[device_pb.AttachResponse]:
    """Far more motion than the device granted credit for, with nothing to draw it."""
    yield opening(motion_format=weights(["jawOpen"], 240.0))
    for seq in range(1, 20_000):
        yield payload(seq, bytes(16_384), kind=pb.KIND_MOTION, pts_us=seq * 1_000_000, duration_us=1_000_000)


def positions() -> Iterator[device_pb.AttachResponse]:
    """Times at the limits of their range."""
    yield opening()
    for seq, pts_us in enumerate((0, INT64 - 1, INT64 // 2, 10**15, 5), 1):
        yield payload(seq, bytes(3_200), pts_us=pts_us, duration_us=INT64 - 1 if seq % 2 else 0)
    yield R(end=pb.ConversationEnd(conversation_id="c", last_audio_seq=4_000_000_000, last_motion_seq=2**31))


def fragments() -> Iterator[device_pb.AttachResponse]:
    """Fragments that do not fit together."""
    yield opening()
    for seq in range(1, 500):
        yield payload(seq, bytes(16_384), total_bytes=2_097_152, fragment_offset=(seq * 7_919) % 2_000_000)


def opus() -> Iterator[device_pb.AttachResponse]:
    """Invalid Opus packets."""
    yield opening(codec=pb.AudioFormat.CODEC_OGG_OPUS)
    for seq in range(1, 400):
        yield payload(seq, os.urandom(12_000) if seq % 2 else b"OggS" + bytes(500))


def many_payloads() -> Iterator[device_pb.AttachResponse]:
    """A message with two million empty payloads."""
    for _ in range(10):
        yield R(media=pb.Media(conversation_id="c", payloads=[pb.Payload()] * 1_900_000))


def pings() -> Iterator[device_pb.AttachResponse]:
    """Pings without end."""
    for number in range(300_000):
        yield R(ping=pb.Ping(id=number, sent_time_us=-INT64))


def errors() -> Iterator[device_pb.AttachResponse]:
    """Errors whose text contains terminal control sequences."""
    for number in range(20_000):
        yield R(conversation_error=pb.ConversationError(conversation_id=f"{number}{ANSI}", status=status_pb2.Status(code=3, message=ANSI)))


def interrupts() -> Iterator[device_pb.AttachResponse]:
    """Conversations that are opened and interrupted."""
    for number in range(5_000):
        yield opening(f"c{number}")
        yield payload(1, bytes(3_200), f"c{number}")
        yield R(interrupt=pb.Interrupt(conversation_id=f"c{number}"))
        yield R(pause=pb.Pause(conversation_id=f"c{number}"))


def once(*messages: device_pb.AttachResponse) -> Callable[[], Iterator[device_pb.AttachResponse]]:
    """A script of these messages only."""
    return lambda: iter(messages)


AFTER_WELCOME: dict[str, Callable[[], Iterator[device_pb.AttachResponse]]] = {
    "conversations without end": opens,
    "opens with 250 names of 15 KB": opens_with_names,
    "media that nobody opened": unopened,
    "sound beyond the credit": beyond_credit,
    "motion beyond the credit": motion_beyond_credit,
    "positions out of range": positions,
    "fragments that do not fit": fragments,
    "sound that is none": opus,
    "1.9 million empty payloads": many_payloads,
    "pings without end": pings,
    "errors with control characters": errors,
    "conversations that begin and end": interrupts,
    "goaway at once": once(R(goaway=pb.GoAway(reason="drain" + ANSI))),
    "goaway for 49 days": once(R(goaway=pb.GoAway(reason="drain", retry_after_ms=2**32 - 1))),
    "a volume that is no number": once(R(volume=pb.SetVolume(gain=float("nan")))),
}
INSTEAD = {
    "silence": None,
    "a welcome with 500,000 lost conversations": welcome(lost_conversation_ids=[f"c{number}" for number in range(500_000)]),
    "a welcome with a token of 3 MB": welcome(session_token=LONG),
    "a clock at the ends of its range": welcome(server_time_us=-INT64, server_unix_time_us=INT64 - 1),
    "another text of control characters each time": "abort",
}
NAMES = (*AFTER_WELCOME, *INSTEAD)


async def serve(name: str) -> None:
    """Serve until killed."""
    attaches = 0

    async def attach(requests: AsyncIterator[bytes], context: Any) -> None:
        nonlocal attaches
        attaches += 1
        print("attach", attaches, flush=True)
        first = INSTEAD.get(name, welcome())
        if first == "abort":
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"x {attaches}{ANSI}{LONG[:4_000]}")
        if isinstance(first, device_pb.AttachResponse):
            await context.write(first.SerializeToString())
        for message in AFTER_WELCOME.get(name, lambda: iter(()))():
            await context.write(message.SerializeToString())
        if name.startswith("goaway"):
            return
        await asyncio.sleep(60)

    server = grpc.aio.server(options=[("grpc.max_send_message_length", 1 << 26)])
    handler: Any = grpc.stream_stream_rpc_method_handler(attach)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("avatar_relay.v1.DeviceService", {"Attach": handler}),))
    print(f"listening on 127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    os.nice(19)
    asyncio.run(serve(sys.argv[1]))
