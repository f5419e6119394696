"""The device's side of the stream, against a real grpc.aio server that follows a script."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest

from avatar_relay import messages as m
from avatar_relay.client_settings import ClientSettings
from avatar_relay.media import Codec, Credit, Cursor, Kind, Payload
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import device_service_pb2 as pb
from avatar_relay.v1 import device_service_pb2_grpc as stubs
from avatar_relay.v1 import media_pb2
from avatar_relay.wire import attach_requests_in, attach_response_to_wire, join_attach_responses
from edge_client.link.attach_call import AttachCall, Endpoint
from edge_client.link.clock_probe import RelayTime
from edge_client.link.credentials import CredentialFiles
from edge_client.link.retry import RetryDecision, StreamEnd
from edge_client.playback.events import ConversationEvent
from tests.edge_client.link.scripted_relay import (
    AHEAD_US,
    CLOCKS,
    FINISHED,
    LIMITS,
    OPEN,
    UNIX_US,
    Relay,
    Running,
    Stream,
    attached,
    stay,
    stay_on,
    until,
)


async def test_hello_says_who_and_how_much() -> None:
    """The first message contains the device's name, its formats, its whole credit and what it holds."""
    async with attached(stay) as (relay, running):
        await until(lambda: running.link.status.attached)
        (hello,) = (message for message in relay.streams[0].heard if isinstance(message, m.Hello))
        assert relay.streams[0].heard[0] is hello
        assert (hello.device_id, hello.protocol_version, hello.output_rate_hz) == ("kitchen", 1, 48_000)
        assert hello.codecs == tuple(Codec)
        assert hello.buffer == Credit(1_000_000, 500_000)
        assert hello.cursors == (Cursor("c-0", 7, 3),)
        assert hello.session_token == ""
        assert isinstance(running.player.handled[0], m.Welcome)


async def test_media_and_commands_reach_the_player_in_order() -> None:
    """All messages about conversations are passed on unchanged; heartbeats are not."""
    said: list[m.ToDevice] = [
        OPEN,
        m.Media("c-1", (Payload(Kind.AUDIO, 1, b"\x01\x02"), Payload(Kind.MOTION, 1, b"m", pts_us=0, duration_us=40_000))),
        m.Pause("c-1"),
        m.Resume("c-1"),
        m.Volume(0.5, True),
        m.ConversationEnd("c-1", 1, 1),
        m.Interrupt("c-1"),
    ]

    async def speak(stream: Stream) -> None:
        await stream.welcome()
        await stream.say(m.Ping(5, 123))
        for message in said:
            await stream.say(message)
        await stream.hear()
        await stay_on(stream)

    async with attached(speak) as (relay, running):
        await until(lambda: len(running.player.handled) == len(said) + 1)
        assert running.player.handled[1:] == said
        await until(lambda: any(isinstance(message, m.Pong) for message in relay.streams[0].heard))
        (pong,) = (message for message in relay.streams[0].heard if isinstance(message, m.Pong))
        assert (pong.ping_id, pong.ping_sent_time_us) == (5, 123)


async def test_credit_held_and_errors_are_forwarded() -> None:
    """The player's reports arrive unchanged."""
    async with attached(stay) as (relay, running):
        await until(lambda: running.link.status.attached)
        error = m.ConversationError("c-1", Fault(Reason.AUDIO_UNDECODABLE, "not Opus", "media.payloads.data"))
        for message in (Credit(10, 20), m.Held((Cursor("c-1", 4, 2),)), error):
            running.link.post(message)
        await until(lambda: len([x for x in relay.streams[0].heard if isinstance(x, Credit | m.Held | m.ConversationError)]) == 3)
        heard = relay.streams[0].heard
        assert Credit(10, 20) in heard
        assert m.Held((Cursor("c-1", 4, 2),)) in heard
        assert error in heard


async def test_the_relays_time_is_known_from_welcome_on() -> None:
    """A relay whose clock is seven seconds ahead is detected at once, and again with each pong."""

    def check(relay_time: RelayTime | None) -> None:
        assert relay_time is not None
        assert abs(relay_time.estimate.offset_us - AHEAD_US) <= relay_time.estimate.error_us
        assert abs(relay_time.unix_offset_us(CLOCKS.monotonic_us()) - UNIX_US) <= relay_time.estimate.error_us + 1

    async with attached(stay) as (_, running):
        await until(lambda: running.link.status.attached)
        first = running.link.relay_time
        check(first)
        await until(lambda: running.link.relay_time is not first)
        check(running.link.relay_time)
        assert running.link.probe.restarts == 0


async def test_leaves_with_goodbye_after_events_arrived() -> None:
    """When stopped, the device waits for its events to be acknowledged, sends `goodbye` and closes its half."""
    ended = asyncio.Event()

    async def slow_ack(stream: Stream) -> None:
        await stream.welcome()
        while (message := await stream.hear()) is not None:
            if isinstance(message, m.PlayerEvent):
                await asyncio.sleep(0.1)
                await stream.say(m.EventAck(message.event_id))
        ended.set()

    async with attached(slow_ack) as (relay, running):
        await until(lambda: running.link.status.attached)
        running.link.post(ConversationEvent("c-1", FINISHED))
        end = await running.leave()
        await asyncio.wait_for(ended.wait(), 2)
        assert end.verdict is RetryDecision.STOPPED
        said = [message for message in relay.streams[0].heard if not isinstance(message, m.Ping)]
        assert said[1:] == [m.PlayerEvent(1, "c-1", FINISHED), m.Goodbye("shutdown")]


async def test_stop_without_a_relay_ends_at_once() -> None:
    """The device is stopped while no relay listens: it does not wait for the next attempt."""
    running = Running(1)
    await until(lambda: running.link.status.tries > 0)
    end = await asyncio.wait_for(running.leave(), 2)
    assert end.verdict is RetryDecision.STOPPED


async def test_without_a_conversation_heartbeats_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As rare as the relay asks; frequent from an `open` on, at once. A relay that does not ask always receives them frequently."""
    monkeypatch.setattr("edge_client.link.heartbeat.HEARTBEAT_US", 20_000)
    pings: dict[str, int] = {}

    def count(stream: Stream) -> int:
        return sum(isinstance(message, m.Ping) for message in stream.heard)

    async def rare(stream: Stream) -> None:
        await stream.welcome(limits=replace(LIMITS, idle_heartbeat_ms=60_000))
        listening = asyncio.create_task(stream.hear())
        await asyncio.sleep(0.2)
        pings["idle"] = count(stream)
        await stream.say(OPEN)
        await until(lambda: count(stream) >= 5)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    async def always(stream: Stream) -> None:
        running.player.held = ()
        await stream.welcome()
        listening = asyncio.create_task(stream.hear())
        await until(lambda: count(stream) >= 5)
        listening.cancel()
        await stay(stream)

    async with attached(rare, always) as (_, running):
        running.player.held = ()
        await until(lambda: running.link.status.streams == 2)
        assert pings["idle"] <= 1


async def test_a_relay_that_takes_joined_messages_gets_few() -> None:
    """Waiting messages are joined into one, and a ping with every third answer to the relay's own; joined messages are handled in order."""
    requests: list[list[str]] = []

    async def joining(stream: Stream) -> None:
        await stream.welcome(takes_joined=True)
        assert (await stream.context.read()).WhichOneof("message") == "ping"
        for _ in range(5):
            both = [attach_response_to_wire(message).SerializeToString() for message in (m.Volume(0.25), m.Ping(1, 0))]
            await stream.context.write(pb.AttachResponse.FromString(join_attach_responses(both)))
            request = await stream.context.read()
            requests.append([one.WhichOneof("message") for one in attach_requests_in(request)])
        await stay(stream)

    async with attached(joining) as (_, running):
        await until(lambda: len(requests) == 5)
        assert requests == [["pong", "ping"], ["pong"], ["pong"], ["pong", "ping"], ["pong"]]
        assert running.player.handled.count(m.Volume(0.25)) == 5


async def test_credit_and_cursors_are_sent_with_an_answer() -> None:
    """They wait for it, unless much credit waits; a relay that does not accept joined messages gets them at once."""
    requests: list[list[str]] = []

    async def joining(stream: Stream) -> None:
        await stream.welcome(takes_joined=True)
        assert (await stream.context.read()).WhichOneof("message") == "ping"
        running.link.post(Credit(250_000, 125_000))
        running.link.post(m.Held((Cursor("c-0", 8, 3),)))
        for message in (m.Ping(1, 0), None):
            if message is None:
                running.link.post(Credit(250_001, 0))
            else:
                await stream.say(message)
            request = await stream.context.read()
            requests.append([one.WhichOneof("message") for one in attach_requests_in(request)])
        await stay(stream)

    async with attached(joining) as (_, running):
        await until(lambda: len(requests) == 2)
        assert requests == [["pong", "credit", "held", "ping"], ["credit"]]


async def test_a_message_of_too_many_ends_the_stream() -> None:
    """A relay that joins more than the limit is not read any further."""

    async def joining(stream: Stream) -> None:
        await stream.welcome()
        ping = attach_response_to_wire(m.Ping(1, 0)).SerializeToString()
        await stream.context.write(pb.AttachResponse.FromString(join_attach_responses([ping] * 17)))
        await stay(stream)

    async with attached(joining, stay) as (_, running):
        await until(lambda: running.link.status.streams == 2)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
async def test_tls_trusts_only_what_the_file_vouches_for(tmp_path: Path) -> None:
    """With the relay's certificate the device attaches; without it, or in plaintext, it fails and names the remedy."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    server = grpc.aio.server()
    stubs.add_DeviceServiceServicer_to_server(Relay(stay), server)
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    port = server.add_secure_port("localhost:0", credentials)
    await server.start()
    hello = m.Hello("kitchen", 1, "", (), 48_000, (), Credit(1, 1))
    trusting = CredentialFiles(ClientSettings(tls_ca_file=certificate), lambda: int(time.time()))
    try:
        for endpoint, welcomed in (
            (Endpoint(f"localhost:{port}", tls=True, credentials=trusting), True),
            (Endpoint(f"localhost:{port}", tls=True), False),
            (Endpoint(f"localhost:{port}"), False),
        ):
            async with AttachCall(endpoint) as call:
                await call.write(hello)
                answer = await asyncio.wait_for(call.read(), 5)
                assert isinstance(answer, m.Welcome) is welcomed
                assert welcomed or (isinstance(answer, StreamEnd) and "do both use TLS" in answer.describe())
    finally:
        await server.stop(None)


async def test_a_message_that_breaks_the_contract_is_refused_in_band() -> None:
    """A payload that exceeds its bounds: reported for its conversation, its credit returned; the stream continues."""

    async def careless(stream: Stream) -> None:
        await stream.welcome()
        bad = media_pb2.Payload(kind=media_pb2.KIND_AUDIO, seq=1, data=b"1234", fragment_offset=2, total_bytes=5)
        await stream.context.write(pb.AttachResponse(media=media_pb2.Media(conversation_id="c-1", payloads=[bad])))
        await stream.context.write(pb.AttachResponse())
        await stream.say(m.Volume(0.5))
        await stay_on(stream)

    async with attached(careless) as (relay, running):
        await until(lambda: bool(relay.streams) and any(isinstance(x, Credit) for x in relay.streams[0].heard))
        (error,) = (x for x in relay.streams[0].heard if isinstance(x, m.ConversationError))
        assert (error.conversation_id, error.fault.reason) == ("c-1", Reason.FRAGMENT_INVALID)
        assert Credit(4, 0) in relay.streams[0].heard
        assert running.player.handled[-1] == m.Volume(0.5)
        assert (running.link.status.refused_messages, running.link.status.unknown_messages) == (1, 1)
        assert running.link.status.attached


async def test_cancellation_ends_the_stream() -> None:
    """A cancelled link raises `CancelledError`, and the relay sees the stream end."""
    gone = asyncio.Event()

    async def watch(stream: Stream) -> None:
        try:
            await stay(stream)
        finally:
            gone.set()

    async with attached(watch) as (_, running):
        await until(lambda: running.link.status.attached)
        running.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running.task
        await asyncio.wait_for(gone.wait(), 2)
