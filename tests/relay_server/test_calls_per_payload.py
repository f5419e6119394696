"""Cost of one live payload in Python calls, from reading the message to encoding it for the write.

Counts the `call` events of `sys.setprofile` for named functions of our packages, including resumptions of coroutines.
Comprehensions are not counted: later versions of Python inline them. The count is the same in every run, regardless of load.
Both services run on streams without sockets; calls in gRPC and protobuf are not counted.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from itertools import count
from types import FrameType
from typing import Any

import grpc
import pytest

from avatar_relay import messages as m
from avatar_relay import wire
from avatar_relay.limits import PROTOCOL_VERSION
from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Credit, Kind, MotionEncoding, Payload
from avatar_relay.v1.device_service_pb2 import AttachResponse
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import Relay
from relay_server.service.device import DeviceService
from relay_server.service.publisher import PublisherService

MAX_CALLS = 24
MAX_CALLS_JOINED = 18
PAYLOAD_BYTES = 460
PAYLOADS = 50
OURS = ("avatar_relay", "relay_server")


class Stream:
    """A stream as seen by a service, without a socket."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes | object] = asyncio.Queue()
        self.outgoing: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self) -> bytes | object:
        """Return the next message."""
        return await self.incoming.get()

    async def write(self, data: bytes) -> None:
        """Send; counting ends here."""
        sys.setprofile(None)
        self.outgoing.put_nowait(data)


class CallCounter:
    """Counts the calls of our functions while enabled."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __enter__(self) -> CallCounter:
        sys.setprofile(self._on_event)
        return self

    def __exit__(self, *_exception: object) -> None:
        sys.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, _argument: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.partition(".")[0] in OURS and not frame.f_code.co_name.startswith("<"):
            self.calls[f"{module}.{frame.f_code.co_qualname}"] += 1


def request(message: m.FromPublisher | m.Joined) -> bytes:
    """A publisher's message as bytes."""
    data: bytes = wire.publish_request_to_wire(message).SerializeToString()
    return data


def audio(seq: int) -> m.Media:
    """One live payload of 20 ms."""
    return m.Media("c1", (Payload(Kind.AUDIO, seq, bytes(PAYLOAD_BYTES), pts_us=(seq - 1) * 20_000, duration_us=20_000),))


async def answer_pings(device: Stream) -> None:
    """Let the relay send everything else that is due, and answer its pings."""
    for _ in range(5):
        await asyncio.sleep(0)
    while not device.outgoing.empty():
        ping = AttachResponse.FromString(device.outgoing.get_nowait()).ping
        device.incoming.put_nowait(wire.attach_request_to_wire(m.Pong(ping.id, ping.sent_time_us, 0, 0, 0)).SerializeToString())
        for _ in range(5):
            await asyncio.sleep(0)


async def calls_of_one_payload(joined: int = 1) -> list[Counter[str]]:
    """Count the calls for each of several payloads, or messages with `joined` of them: one publisher, one device, no tick."""
    moments = count(1_000_000, 10)
    relay = Relay(
        RelayConfig(), Clocks(lambda: next(moments), lambda: 0), random_bytes=lambda size: b"r" * size, encode=wire.encode_payload
    )
    device, publisher = Stream(), Stream()
    services: list[tuple[Any, Stream]] = [(DeviceService(relay).attach, device), (PublisherService(relay).publish, publisher)]
    tasks = [asyncio.create_task(serve(stream)) for serve, stream in services]
    hello = m.Hello("device", PROTOCOL_VERSION, "counted", tuple(Codec), 48_000, tuple(MotionEncoding), Credit(1 << 30, 1 << 30))
    device.incoming.put_nowait(wire.attach_request_to_wire(hello).SerializeToString())
    await device.outgoing.get()  # welcome
    publisher.incoming.put_nowait(request(m.PublisherHello("publisher", PROTOCOL_VERSION, "counted")))
    opening = ConversationOpen("c1", AudioFormat(Codec.PCM_S16LE, 16_000))
    publisher.incoming.put_nowait(request(m.PublishOpen(opening, ("device",))))
    await device.outgoing.get()  # open
    counted = []
    for first in range(1, PAYLOADS * joined + 1, joined):
        seqs = range(first, first + joined)
        messages = tuple(map(audio, seqs))
        publisher.incoming.put_nowait(request(messages[0] if joined == 1 else m.Joined(messages)))
        with CallCounter() as counter:
            data = await device.outgoing.get()
        counted.append(counter.calls)
        assert [payload.seq for payload in AttachResponse.FromString(data).media.payloads] == list(seqs)
        await answer_pings(device)
    for stream in (publisher, device):
        stream.incoming.put_nowait(grpc.aio.EOF)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return counted


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions count other events")
async def test_a_live_payload_takes_few_calls() -> None:
    """Most payloads have the minimum cost; some also grant credit or send a ping."""
    counted = await calls_of_one_payload()
    cheapest = min(counted, key=Counter.total)
    assert cheapest.total() <= MAX_CALLS, "\n".join(f"{number} {name}" for name, number in cheapest.items())


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions count other events")
async def test_joined_payloads_of_a_device_are_written_at_once() -> None:
    """They arrive in one message, and leave in one; calls for each of them."""
    counted = await calls_of_one_payload(joined=3)
    cheapest = min(counted, key=Counter.total)
    assert cheapest.total() / 3 <= MAX_CALLS_JOINED, "\n".join(f"{number} {name}" for name, number in cheapest.items())
