"""Contender `bare`: a relay on grpc.aio in the style of its tutorials: generated stubs, one payload per message, a queue per device."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import grpc.aio

from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import device_service_pb2_grpc as device_rpc
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb
from avatar_relay.v1 import publisher_service_pb2_grpc as publisher_rpc
from scripts.bench.contenders.grpc_server import close, serve
from scripts.bench.contract import QUEUE_PAYLOADS, Received

OPTIONS = (("grpc.use_local_subchannel_pool", 1),)


class Room(device_rpc.DeviceServiceServicer, publisher_rpc.PublisherServiceServicer):
    """Both services; conversations are rooms, which contain the devices with their name as prefix."""

    def __init__(self) -> None:
        self._queues: dict[str, list[asyncio.Queue[Any]]] = defaultdict(list)

    async def Attach(self, requests: AsyncIterator[Any], context: Any) -> None:
        """One device."""
        hello = await anext(requests)
        queue: asyncio.Queue[Any] = asyncio.Queue(QUEUE_PAYLOADS)
        room = self._queues[hello.hello.device_id]
        room.append(queue)
        try:
            await context.write(device_pb.AttachResponse(welcome=device_pb.Welcome()))
            while True:
                await context.write(device_pb.AttachResponse(media=await queue.get()))
        finally:
            room.remove(queue)

    async def Publish(self, requests: AsyncIterator[Any], context: Any) -> None:
        """One publisher."""
        del context
        async for request in requests:
            for queue in self._queues[request.media.conversation_id]:
                await queue.put(request.media)


class Clients:
    """See `contract.Clients`. Each stream has its own connection."""

    def __init__(self, address: str, received: Received) -> None:
        self._address = address
        self._received = received
        self._channels: list[Any] = []
        self._publishers: dict[int, Any] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def _channel(self) -> Any:
        channel = grpc.aio.insecure_channel(self._address, options=OPTIONS)
        self._channels.append(channel)
        return channel

    async def attach(self, session: int, device: int) -> None:
        """See `contract.Clients`."""
        del device
        call = device_rpc.DeviceServiceStub(self._channel()).Attach()
        await call.write(device_pb.AttachRequest(hello=device_pb.Hello(device_id=f"session-{session}")))
        await call.read()
        self._tasks.append(asyncio.create_task(self._read(call)))

    async def _read(self, call: Any) -> None:
        while (response := await call.read()) is not grpc.aio.EOF:
            for payload in response.media.payloads:
                self._received(payload.data)

    async def publish(self, session: int, audio: Sequence[bytes], motion: Sequence[bytes]) -> None:
        """See `contract.Clients`."""
        call = self._publishers.get(session)
        if call is None:
            call = self._publishers[session] = publisher_rpc.PublisherServiceStub(self._channel()).Publish()
        for index in range(max(len(audio), len(motion))):
            for kind, payloads in ((pb.KIND_AUDIO, audio), (pb.KIND_MOTION, motion)):
                if index < len(payloads):
                    payload = pb.Payload(kind=kind, seq=index + 1, pts_us=20_000 * index, duration_us=20_000, data=payloads[index])
                    media = pb.Media(conversation_id=f"session-{session}", payloads=[payload])
                    await call.write(publisher_pb.PublishRequest(media=media))

    async def close(self) -> None:
        """See `contract.Clients`."""
        await close(self._tasks, self._channels)


def register(server: Any) -> None:
    """Register both services with a server."""
    room = Room()
    device_rpc.add_DeviceServiceServicer_to_server(room, server)
    publisher_rpc.add_PublisherServiceServicer_to_server(room, server)


if __name__ == "__main__":
    asyncio.run(serve(register))
