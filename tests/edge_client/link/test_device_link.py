"""The device's side of the stream, against a real grpc.aio server that follows a script."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_status import rpc_status  # type: ignore[import-untyped]

from avatar_relay import messages as m
from avatar_relay.backoff import DEVICE_BACKOFF, Attempts, BackoffPolicy
from avatar_relay.client_settings import ClientSettings
from avatar_relay.device_state import DeviceSettings
from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Credit, Cursor, Kind, Payload
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import device_service_pb2 as pb
from avatar_relay.v1 import device_service_pb2_grpc as stubs
from avatar_relay.v1 import media_pb2
from avatar_relay.wire import (
    attach_request_from_wire,
    attach_requests_in,
    attach_response_to_wire,
    fault_to_status,
    join_attach_responses,
)
from edge_client.link import device_link as transport
from edge_client.link.attach_call import AttachCall, Endpoint
from edge_client.link.clock_probe import RelayTime
from edge_client.link.credentials import CredentialFiles
from edge_client.link.device_link import DeviceLink, DeviceProfile, LinkClocks
from edge_client.link.heartbeat import Heartbeat
from edge_client.link.retry import RetryDecision, StreamEnd
from edge_client.playback.events import ConversationEvent

LIMITS = m.Limits(1 << 21, 1 << 22, 1 << 14, 30_000, 1_000)
OPEN = ConversationOpen("c-1", AudioFormat(Codec.PCM_S16LE, 16_000))
FINISHED = m.Finished(20_000, False, "completed")
CLOCKS = LinkClocks(lambda: time.monotonic_ns() // 1_000, lambda: time.time_ns() // 1_000)


AHEAD_US, UNIX_US = 7_000_000, 1_000_000_000
"""The relay's monotonic and wall clock, relative to ours."""


class Stream:
    """The relay's side of one attach stream."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.heard: list[m.ToRelayFromDevice] = []

    async def hear(self) -> m.ToRelayFromDevice | None:
        """The next message other than a ping (pings are answered); None at the end of the stream."""
        while (request := await self.context.read()) is not grpc.aio.EOF:
            message = attach_request_from_wire(request)
            assert message is not None
            self.heard.append(message)
            if not isinstance(message, m.Ping):
                return message
            now_us = CLOCKS.monotonic_us()
            await self.say(m.Pong(message.ping_id, message.sent_time_us, now_us + AHEAD_US, now_us + AHEAD_US, now_us + UNIX_US))
        return None

    async def say(self, message: m.ToDevice) -> None:
        await self.context.write(attach_response_to_wire(message))

    async def welcome(self, token: str = "token-1", limits: m.Limits = LIMITS, *, takes_joined: bool = False) -> m.Hello:
        hello = await self.hear()
        assert isinstance(hello, m.Hello)
        now_us = CLOCKS.monotonic_us()
        await self.say(m.Welcome(token, limits, now_us + AHEAD_US, now_us + UNIX_US, takes_joined=takes_joined))
        return hello

    async def refuse(self, fault: Fault) -> None:
        await self.context.abort_with_status(rpc_status.to_status(fault_to_status(fault)))


Script = Callable[[Stream], Awaitable[None]]


class Relay(stubs.DeviceServiceServicer):
    """Follows one script for each stream, the last one for all later streams."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.streams: list[Stream] = []

    async def Attach(self, request_iterator: Any, context: Any) -> None:
        stream = Stream(context)
        self.streams.append(stream)
        await self.scripts[min(len(self.streams), len(self.scripts)) - 1](stream)


class Player:
    """Accepts everything, and has a fixed capacity."""

    settings: DeviceSettings | None = None

    def __init__(self) -> None:
        self.handled: list[m.ToDevice] = []
        self.held: tuple[Cursor, ...] = (Cursor("c-0", 7, 3),)

    def handle(self, message: m.ToDevice, now_us: int) -> None:
        self.handled.append(message)
        if isinstance(message, ConversationOpen):
            self.held = (Cursor(message.conversation_id),)

    def buffer_credit(self) -> Credit:
        return Credit(1_000_000, 500_000)

    def cursors(self) -> tuple[Cursor, ...]:
        return self.held

    volume = m.Volume(0.5, True, 3)


@contextlib.asynccontextmanager
async def serving(relay: Relay, port: int = 0) -> AsyncIterator[tuple[grpc.aio.Server, int]]:
    """A real server on loopback."""
    server = grpc.aio.server()
    stubs.add_DeviceServiceServicer_to_server(relay, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield server, port
    finally:
        await server.stop(None)


class Running:
    """A running link and its player."""

    def __init__(self, port: int) -> None:
        self.player = Player()
        self.stop = asyncio.Event()
        self.link = DeviceLink(
            endpoint=Endpoint(f"127.0.0.1:{port}"),
            profile=DeviceProfile("kitchen", "edge-client test", 48_000),
            player=self.player,
            clocks=CLOCKS,
            uniform=lambda: 0.5,
            policy=BackoffPolicy(0.02, 0.2),
        )
        self.task = asyncio.create_task(self.link.run(self.stop))

    async def leave(self) -> StreamEnd:
        self.stop.set()
        return await self.task


@contextlib.asynccontextmanager
async def attached(*scripts: Script) -> AsyncIterator[tuple[Relay, Running]]:
    """A relay with its scripts and a link to it, which is stopped at the end."""
    relay = Relay(*scripts)
    async with serving(relay) as (_, port):
        running = Running(port)
        try:
            yield relay, running
        finally:
            running.task.cancel()
            await asyncio.gather(running.task, return_exceptions=True)


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another object's hands
            await asyncio.sleep(0.005)


async def stay(stream: Stream) -> None:
    """Send `welcome`, acknowledge events, and stay to the end."""
    await stream.welcome()
    while (message := await stream.hear()) is not None:
        if isinstance(message, m.PlayerEvent):
            await stream.say(m.EventAck(message.event_id))


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


async def stay_on(stream: Stream) -> None:
    while await stream.hear() is not None:
        pass


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


async def test_comes_back_after_the_relay_died() -> None:
    """A relay dies and another starts on the same port: session token and unacknowledged events are sent to it."""

    async def deaf_to_events(stream: Stream) -> None:
        await stream.welcome("token-7")
        await stay_on(stream)

    async def same_session(stream: Stream) -> None:
        await stream.welcome("token-7")
        while (message := await stream.hear()) is not None:
            if isinstance(message, m.PlayerEvent):
                await stream.say(m.EventAck(message.event_id))

    first, second = Relay(deaf_to_events), Relay(same_session)
    async with serving(first) as (server, port):
        running = Running(port)
        await until(lambda: running.link.status.attached)
        running.link.post(ConversationEvent("c-1", FINISHED))
        await until(lambda: any(isinstance(x, m.PlayerEvent) for x in first.streams[0].heard))
        await server.stop(None)
        await until(lambda: not running.link.status.attached)
        async with serving(second, port):
            await until(lambda: bool(second.streams) and any(isinstance(x, m.PlayerEvent) for x in second.streams[-1].heard))
            assert running.link.status.streams == 2
            heard = second.streams[-1].heard
            assert isinstance(heard[0], m.Hello)
            assert heard[0].session_token == "token-7"
            assert m.PlayerEvent(1, "c-1", FINISHED) in heard
            end = await running.leave()
    assert end.verdict is RetryDecision.STOPPED


async def test_a_new_session_numbers_events_from_one() -> None:
    """A relay that does not know the old session receives the remaining events as 1, 2, …"""

    async def forgetful(stream: Stream) -> None:
        await stream.welcome("token-a")
        event = await stream.hear()
        assert isinstance(event, m.PlayerEvent)
        await stream.say(m.EventAck(event.event_id))
        await stream.hear()

    async def other(stream: Stream) -> None:
        await stream.welcome("token-b")
        await stay_on(stream)

    async with attached(forgetful, other) as (relay, running):
        await until(lambda: running.link.status.attached)
        running.link.post(ConversationEvent("c-1", m.Started()))
        await until(lambda: any(isinstance(x, m.PlayerEvent) for x in relay.streams[0].heard))
        running.link.post(ConversationEvent("c-1", FINISHED))
        await until(lambda: len(relay.streams) > 1 and any(isinstance(x, m.PlayerEvent) for x in relay.streams[1].heard))
        events = [message for message in relay.streams[1].heard if isinstance(message, m.PlayerEvent)]
        assert events == [m.PlayerEvent(1, "c-1", FINISHED)]


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


async def test_a_final_refusal_is_told_and_ends_the_link() -> None:
    """A rejected `hello` is not repeated; reason and text are returned as values."""
    fault = Fault(Reason.PROTOCOL_VERSION_UNSUPPORTED, "version 1 is no longer spoken here", "hello.protocol_version")

    async def refuse(stream: Stream) -> None:
        await stream.hear()
        await stream.refuse(fault)

    async with attached(refuse) as (relay, running):
        end = await asyncio.wait_for(running.task, 5)
        assert end.verdict is RetryDecision.FINAL
        assert end.fault == fault
        assert len(relay.streams) == 1


async def test_retry_info_holds_the_device_back() -> None:
    """The device waits for the time in a draining relay's hint, and then attaches."""

    async def draining(stream: Stream) -> None:
        await stream.hear()
        await stream.refuse(Fault(Reason.DRAINING, "out of service for a moment", retry_after_ms=400))

    async with attached(draining, stay) as (relay, running):
        await until(lambda: running.link.status.tries == 1)
        refused_us = CLOCKS.monotonic_us()
        await until(lambda: running.link.status.attached)
        assert CLOCKS.monotonic_us() - refused_us >= 390_000
        assert len(relay.streams) == 2


async def test_the_relays_status_survives_a_write_that_races_it() -> None:
    """The device writes at the moment when the relay ends the stream: the relay's text and reason are not lost."""

    async def take_over(stream: Stream) -> None:
        await stream.welcome()
        await stream.say(m.Volume(0.25))
        await stream.refuse(Fault(Reason.REPLACED, "another stream took over"))

    async with serving(Relay(take_over)) as (_, port):
        for _ in range(30):
            async with AttachCall(Endpoint(f"127.0.0.1:{port}")) as call:
                await call.write(m.Hello("kitchen", 1, "", (), 48_000, (), Credit(1, 1)))
                assert isinstance(await asyncio.wait_for(call.read(), 2), m.Welcome)
                while await call.write(Credit(1, 1)):
                    pass
                assert await asyncio.wait_for(call.read(), 2) == m.Volume(0.25)
                end = await asyncio.wait_for(call.read(), 2)
                assert isinstance(end, StreamEnd)
                assert end.verdict is RetryDecision.STAND_BACK


async def test_goaway_is_told_and_its_hint_kept() -> None:
    """The stream continues after `goaway`; when the relay ends it, the device waits for the given time."""

    async def go_away(stream: Stream) -> None:
        await stream.welcome()
        await stream.say(m.GoAway("drain", 300))
        await stream.say(m.Volume(0.25))

    async with attached(go_away, stay) as (_, running):
        await until(lambda: running.link.status.tries == 1)
        ended_us = CLOCKS.monotonic_us()
        assert m.Volume(0.25) in running.player.handled
        await until(lambda: running.link.status.streams == 2)
        assert CLOCKS.monotonic_us() - ended_us >= 290_000


async def test_a_silent_relay_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing received within the peer timeout: the stream is dropped and another one opened."""
    monkeypatch.setattr("edge_client.link.heartbeat.PEER_TIMEOUT_US", 200_000)
    left = asyncio.Event()

    async def silent(stream: Stream) -> None:
        await stream.welcome()
        try:
            await asyncio.sleep(30)
        finally:
            left.set()

    async with attached(silent, stay) as (_, running):
        await until(lambda: running.link.status.streams == 2)
        await asyncio.wait_for(left.wait(), 2)


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
    """Waiting messages are joined into one, and a ping with each answer to the relay's own; joined messages are handled in order."""
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
        assert requests == 5 * [["pong", "ping"]]
        assert running.player.handled.count(m.Volume(0.25)) == 5


async def test_a_message_of_too_many_ends_the_stream() -> None:
    """A relay that joins more than the limit is not read any further."""

    async def joining(stream: Stream) -> None:
        await stream.welcome()
        ping = attach_response_to_wire(m.Ping(1, 0)).SerializeToString()
        await stream.context.write(pb.AttachResponse.FromString(join_attach_responses([ping] * 17)))
        await stay(stream)

    async with attached(joining, stay) as (_, running):
        await until(lambda: running.link.status.streams == 2)


async def test_a_relay_that_takes_no_hello_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt ends if no `welcome` arrives in time."""
    monkeypatch.setattr("avatar_relay.backoff.WELCOME_S", 0.2)

    async def deaf(stream: Stream) -> None:
        await asyncio.sleep(30)

    async with attached(deaf, stay) as (_, running):
        await until(lambda: running.link.status.attached)
        assert running.link.status.tries == 1


def test_a_half_open_link_is_found_and_left_in_time() -> None:
    """Found within 5 s and attached within 7, each with most of a second to spare; even if the first attempt hits the outage."""
    attempts = Attempts(DEVICE_BACKOFF, lambda: 1.0)
    found_s = Heartbeat().silence_us / 1e6 + transport.SILENCE_STEP_S
    assert found_s <= 5 - 0.75
    assert found_s + attempts.wait_s() + attempts.within_s + attempts.wait_s() <= 7 - 0.75


async def test_a_hole_in_place_of_a_relay_is_tried_again_and_given_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server accepts the connection and sends nothing, so that gRPC itself would wait for 20 s; later attempts get more time."""
    monkeypatch.setattr("avatar_relay.backoff.WELCOME_S", 0.1)
    began: list[float] = []
    writers: list[asyncio.StreamWriter] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began.append(time.monotonic())
        writers.append(writer)
        with contextlib.suppress(ConnectionError):
            await reader.read()

    async with await asyncio.start_server(swallow, "127.0.0.1", 0) as server:
        running = Running(server.sockets[0].getsockname()[1])
        await until(lambda: len(began) >= 4)
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
        for writer in writers:
            writer.close()
    tries = [later - earlier for earlier, later in itertools.pairwise(began)]
    assert all(0.09 * 1.5**number < try_s < 3 for number, try_s in enumerate(tries)), tries
    assert "did not answer" in running.link.status.text


async def test_a_relay_that_falls_over_after_each_welcome_is_not_left_for_long() -> None:
    """However often: the backoff restarts with each `welcome`, or a relay that is killed repeatedly would be lost for minutes."""

    async def fall_over(stream: Stream) -> None:
        await stream.welcome()

    async with attached(fall_over) as (_, running):
        await until(lambda: running.link.status.streams >= 8)
        assert running.link.status.tries <= 1


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
