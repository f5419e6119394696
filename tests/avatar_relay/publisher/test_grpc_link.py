"""The library over real gRPC: a recording servicer on loopback, then the relay itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from avatar_relay import wire
from avatar_relay.media import Credit, Kind
from avatar_relay.messages import (
    ConversationCredit,
    ConversationEnd,
    FromPublisher,
    Limits,
    Media,
    Opened,
    Ping,
    Pong,
    PublishedMedia,
    PublisherHello,
    PublisherWelcome,
    PublishOpen,
    ToPublisher,
)
from avatar_relay.publisher import ConnectionLostError, Publisher
from avatar_relay.publisher.grpc_link import GrpcConnector
from avatar_relay.reasons import Fault, Reason
from avatar_relay.relay_list import RelayList
from avatar_relay.v1 import publisher_service_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2_grpc as services
from tests.avatar_relay.publisher.fakes import PCM_16K, WEIGHTS_30, completed, weights

Behaviour = Callable[[FromPublisher], list[ToPublisher]]


class RecordingService(services.PublisherServiceServicer):
    """Records its requests and answers like a device that accepts everything and finishes at once."""

    def __init__(self) -> None:
        self.said: list[FromPublisher] = []
        self.abort_with: Fault | None = None

    async def Publish(self, requests: AsyncIterator[pb.PublishRequest], context: Any) -> AsyncIterator[pb.PublishResponse]:
        async for request in requests:
            message = wire.publish_request_from_wire(request, request.SerializeToString())
            assert message is not None
            message = message.one_by_one() if isinstance(message, PublishedMedia) else message
            self.said.append(message)
            if self.abort_with is not None:
                status = wire.fault_to_status(self.abort_with)
                context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
                await context.abort(getattr(grpc.StatusCode, self.abort_with.code), self.abort_with.text)
            for answer in self.answers(message):
                yield wire.publish_response_to_wire(answer)

    def answers(self, message: FromPublisher) -> list[ToPublisher]:
        match message:
            case PublisherHello():
                return [PublisherWelcome("token", Limits(2 << 20, 4 << 20, 16 << 10, 5_000, 1_000))]
            case PublishOpen():
                conversation_id = message.open.conversation_id
                return [Opened(conversation_id, ("lobby",)), ConversationCredit(conversation_id, Credit(1 << 20, 1 << 20))]
            case ConversationEnd():
                return [completed(message.conversation_id)]
            case Ping(ping_id, sent_time_us):
                return [Pong(ping_id, sent_time_us, 0, 0, 0)]
            case _:
                return []


@pytest.fixture
async def service() -> AsyncIterator[tuple[RecordingService, str]]:
    """A servicer and its address."""
    server = grpc.aio.server()
    recording = RecordingService()
    services.add_PublisherServiceServicer_to_server(recording, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield recording, f"127.0.0.1:{port}"
    await server.stop(None)


async def test_a_conversation_over_grpc(service: tuple[RecordingService, str]) -> None:
    """All bytes arrive, in order, joined into few messages; finished is returned."""
    recording, address = service
    sound, motion = bytes(range(250)) * 256, [weights(20, 0.1), weights(40, 0.2)]
    async with Publisher.connect(address, publisher_id="backend") as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=WEIGHTS_30)
        conversation_id = await avatar.yield_audio_data(sound)
        assert await avatar.yield_frames_data(motion, conversation_id)
        await avatar.yield_audio_data(b"", end=True)
        assert (await avatar.finished(conversation_id)).reason == "completed"
    payloads = [payload for media in recording.said if isinstance(media, Media) for payload in media.payloads]
    assert b"".join(payload.data for payload in payloads if payload.kind is Kind.AUDIO) == sound
    assert b"".join(payload.data for payload in payloads if payload.kind is Kind.MOTION) == b"".join(motion)
    assert sum(isinstance(message, Media) for message in recording.said) <= 4 < len(payloads)


async def test_a_refusal_carries_the_relays_reason(service: tuple[RecordingService, str]) -> None:
    """INVALID_ARGUMENT is final: not retried, and its details are passed to the caller."""
    recording, address = service
    recording.abort_with = Fault(Reason.HELLO_INVALID, "publisher_id must be shorter", "hello.publisher_id")
    with pytest.raises(ConnectionLostError, match="publisher_id must be shorter") as caught:
        async with Publisher.connect(address):
            pass
    assert caught.value.final
    assert caught.value.fault == recording.abort_with
    assert len(recording.said) == 1


async def test_another_service_at_the_address_is_said_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that has no PublisherService."""
    monkeypatch.setattr("avatar_relay.publisher.publisher.PUBLISHER_LEASE_US", 2_000_000)
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with pytest.raises(ConnectionLostError, match="UNIMPLEMENTED"):
        async with Publisher.connect(f"127.0.0.1:{port}"):
            pass
    await server.stop(None)


async def test_a_token_that_cannot_be_read_on_a_reconnect_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is being replaced, or a process without descriptors: it must not end the publisher. A later one counts."""
    file = tmp_path / "token"
    connector = GrpcConnector(RelayList(("127.0.0.1:1",), lambda: 0.0), None, file)
    with pytest.raises(ConnectionLostError, match="cannot be read") as caught:
        await connector.open()
    assert caught.value.final
    shown = []
    for text in ("first-token", None, "", "later-token"):
        file.unlink(missing_ok=True)
        if text is not None:
            file.write_text(text)
        await (await connector.open()).close()
        shown.append(connector._last_token)
    assert shown == ["first-token", "first-token", "first-token", "later-token"]
    assert [record.levelname for record in caplog.records if "stays in effect" in record.message] == ["WARNING"]


def test_grpc_is_imported_only_when_it_is_used() -> None:
    """A backend in the relay's own process never loads it; checked in a new interpreter."""
    program = "import sys, avatar_relay.publisher; print(sorted({'grpc', 'google.rpc'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
