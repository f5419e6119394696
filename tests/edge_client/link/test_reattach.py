"""A link that is refused, cut or silent: when it tries again, where, and what it then says."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time

import pytest

from avatar_relay import messages as m
from avatar_relay.backoff import DEVICE_BACKOFF, Attempts
from avatar_relay.media import Credit
from avatar_relay.reasons import Fault, Reason
from edge_client.link import device_link as transport
from edge_client.link.attach_call import AttachCall, Endpoint
from edge_client.link.heartbeat import Heartbeat
from edge_client.link.retry import RetryDecision, StreamEnd
from edge_client.playback.events import ConversationEvent
from tests.edge_client.link.scripted_relay import CLOCKS, FINISHED, Relay, Running, Stream, attached, serving, stay, stay_on, until


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
        await until(lambda: any(isinstance(x, m.PlayerEvent) for x in first.streams[-1].heard))
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
