"""A device's stream over real gRPC: the messages it gets, and how it ends, with the reason in the status."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import ANY

import grpc
import pytest

from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import media_pb2 as pb
from relay_server.config import RelayConfig
from relay_server.core.congestion import FIRST_WINDOW_BYTES, CongestionWindow
from relay_server.service import write_watch
from tests.relay_server.service.wired import PATIENCE_S, Stream, Wired, audio, finished, hello, media, motion, opening, wired


async def test_a_conversation_reaches_the_device_bit_for_bit(relay: Wired) -> None:
    """Open, media, end, in that order; payloads are unchanged."""
    device, publisher = await relay.device(), await relay.publisher()
    await publisher.say(open=opening())
    await publisher.say(media=media(audio(1, b"first"), motion(1, bytes(range(256)) * 200), audio(2, b"second")))
    await publisher.say(end=pb.ConversationEnd(conversation_id="c1", last_audio_seq=2, last_motion_seq=1))
    opened = await device.hear("open")
    assert (opened.conversation_id, opened.audio_format, opened.motion_format.keyframes_per_second) == ("c1", _pcm(), 25)
    payloads: list[pb.Payload] = []
    while sum(len(payload.data) for payload in payloads) < 11 + 256 * 200:
        payloads += (await device.hear("media")).payloads
    assert b"".join(payload.data for payload in payloads if payload.kind == pb.KIND_AUDIO) == b"firstsecond"
    assert b"".join(payload.data for payload in payloads if payload.kind == pb.KIND_MOTION) == bytes(range(256)) * 200
    assert max(len(payload.data) for payload in payloads) <= 16_384
    end = await device.hear("end")
    assert (end.last_audio_seq, end.last_motion_seq) == (2, 1)


def _pcm() -> pb.AudioFormat:
    return pb.AudioFormat(codec=pb.AudioFormat.CODEC_PCM_S16LE, sample_rate_hz=16_000, channels=1)


async def test_no_more_than_the_credit_is_sent(relay: Wired) -> None:
    """The first grant is the device's buffer; more is sent only after more credit."""
    device, publisher = await relay.device(buffer=pb.Credit(audio_bytes=4, motion_bytes=4)), await relay.publisher()
    await publisher.say(open=opening())
    await publisher.say(media=media(audio(1), audio(2), audio(3)))
    await device.hear("open")
    assert [payload.seq for payload in (await device.hear("media")).payloads] == [1, 2]
    await device.say(ping=pb.Ping(id=7))
    await device.hear("pong")
    await device.say(credit=pb.Credit(audio_bytes=2))
    assert [payload.seq for payload in (await device.hear("media")).payloads] == [3]


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        ([{"ping": pb.Ping(id=1)}], grpc.StatusCode.INVALID_ARGUMENT, Reason.HELLO_MISSING),
        ([{"hello": hello()}, {"hello": hello()}], grpc.StatusCode.INVALID_ARGUMENT, Reason.HELLO_REPEATED),
        ([{"hello": hello("no spaces")}], grpc.StatusCode.INVALID_ARGUMENT, Reason.HELLO_INVALID),
        ([{"hello": hello(protocol_version=9)}], grpc.StatusCode.FAILED_PRECONDITION, Reason.PROTOCOL_VERSION_UNSUPPORTED),
        ([{"hello": hello()}, {"credit": pb.Credit(audio_bytes=1 << 60)}], grpc.StatusCode.INVALID_ARGUMENT, Reason.CREDIT_INVALID),
    ],
    ids=lambda value: str(value) if isinstance(value, Reason) else "",
)
async def test_what_ends_a_stream_has_a_reason(relay: Wired, said: list[dict[str, Any]], code: grpc.StatusCode, reason: Reason) -> None:
    """A fault of handshake or framing ends the RPC; the status carries the reason and a text."""
    stream = relay.device_stream()
    for message in said:
        await stream.say(**message)
    status, fault = await stream.ended()
    assert (status, fault.reason) == (code, reason)
    assert fault.text
    assert fault.field


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"\xff\xff\xff\xff", Reason.MESSAGE_INVALID), (b"\x0a\x05ab", Reason.MESSAGE_INVALID), (bytes(5 << 20), Reason.MESSAGE_TOO_LARGE)],
    ids=["garbage", "truncated", "oversized"],
)
async def test_bytes_that_are_no_message(relay: Wired, data: bytes, reason: Reason) -> None:
    """A peer's fault is never UNKNOWN or INTERNAL."""
    for method in ("DeviceService/Attach", "PublisherService/Publish"):
        call: Any = relay.channel.stream_stream(f"/avatar_relay.v1.{method}")()
        await call.write(data)
        status, fault = await Stream(call, None).ended()
        assert (status, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


async def test_messages_of_a_later_version_are_passed_over(relay: Wired) -> None:
    """Unknown members are ignored."""
    device = await relay.device()
    later = device_pb.AttachRequest()
    later.ParseFromString(b"\xfa\x01\x02\x08\x01")
    await device.call.write(later)
    await device.say(ping=pb.Ping(id=3, sent_time_us=4))
    pong = await device.hear("pong")
    assert (pong.id, pong.ping_sent_time_us) == (3, 4)
    assert pong.received_time_us == pong.sent_time_us == relay.clock.now_us
    assert pong.sent_unix_time_us > 1_600_000_000_000_000


async def test_event_of_an_unknown_kind_is_acknowledged(relay: Wired) -> None:
    """Its device would repeat it forever otherwise; later events are acknowledged as well."""
    device = await relay.device()
    later = device_pb.AttachRequest(event=pb.PlayerEvent(event_id=1, conversation_id="c"))
    later.event.MergeFromString(b"\xfa\x01\x02\x08\x01")
    await device.call.write(later)
    assert (await device.hear("event_ack")).event_id == 1
    await device.say(event=pb.PlayerEvent(event_id=2, conversation_id="c", started=pb.PlaybackStarted()))
    assert (await device.hear("event_ack")).event_id == 2
    await device.call.write(later)
    assert (await device.hear("event_ack")).event_id == 2


async def test_a_new_stream_takes_the_place_of_the_old_one(relay: Wired) -> None:
    """At once; the old stream is notified and ends with ABORTED."""
    old = await relay.device()
    await relay.device(session_token=old.token)  # type: ignore[attr-defined]
    assert (await old.hear("goaway")).reason == "replaced"
    status, fault = await old.ended()
    assert (status, fault.reason) == (grpc.StatusCode.ABORTED, Reason.REPLACED)


async def test_a_device_that_comes_back_goes_on(relay: Wired) -> None:
    """With its token and cursors it gets the missing media; the conversation survives."""
    device, publisher = await relay.device(), await relay.publisher()
    await publisher.say(open=opening())
    await publisher.say(media=media(audio(1), audio(2)))
    await device.hear("open")
    await device.hear("media")
    device.call.cancel()
    again = relay.device_stream()
    cursor = pb.Cursor(conversation_id="c1", audio_seq=1)
    await again.say(hello=hello(session_token=device.token, cursors=[cursor]))  # type: ignore[attr-defined]
    assert list((await again.hear("welcome")).resumed_conversation_ids) == ["c1"]
    assert (await again.hear("open")).conversation_id == "c1"
    assert [payload.seq for payload in (await again.hear("media")).payloads] == [2]


async def test_a_vanished_device_is_finished_for(relay: Wired) -> None:
    """Its publisher gets finished with the reason after the lease; device and publisher continue with the next conversation."""
    device, publisher = await relay.device(), await relay.publisher()
    await publisher.say(open=opening())
    await publisher.hear("opened")
    device.call.cancel()
    await _until_away(relay)
    for _ in range(8):
        await publisher.say(ping=pb.Ping(id=1))
        await publisher.hear("pong")
        await relay.pass_time(3.9)
    event = await publisher.hear("event")
    assert (event.device_id, event.finished.reason, event.finished.interrupted) == ("lobby", "device_lost", True)
    device = await relay.device()
    await publisher.say(open=opening("c2"))
    assert (await device.hear("open")).conversation_id == "c2"


async def _until_away(relay: Wired) -> None:
    with relay.relay.watch(frozenset()) as watcher:
        if relay.relay.operator.session("lobby").attached:
            await watcher.receive()
    assert not relay.relay.operator.session("lobby").attached


async def test_goodbye_ends_well(relay: Wired) -> None:
    """The session ends with the stream, and the status is OK."""
    device = await relay.device()
    await device.say(goodbye=device_pb.Goodbye(reason="shutdown"))
    assert await device.call.read() is grpc.aio.EOF
    assert await device.call.code() is grpc.StatusCode.OK
    assert relay.relay.sessions() == ()


async def test_a_silent_device_is_dropped(relay: Wired) -> None:
    """The relay pings; a device silent for the timeout is dropped, and may reconnect at once."""
    device = await relay.device()
    await relay.pass_time(1)
    await device.say(pong=pb.Pong(id=(await device.hear("ping")).id))
    await relay.pass_time(4.25)
    status, fault = await device.ended()
    assert (status, fault.reason, fault.retry_after_ms) == (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.PEER_SILENT, 0)


async def test_too_many_devices_are_turned_away() -> None:
    """The error names the limit and the time to retry."""
    async with wired(RelayConfig(listen="127.0.0.1:0", max_devices=1)) as relay:
        await relay.device("one")
        second = relay.device_stream()
        await second.say(hello=hello("two"))
        status, fault = await second.ended()
        assert (status, fault.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.LIMIT_REACHED)
        assert fault.retry_after_ms


async def test_events_are_acknowledged_when_the_publisher_has_them(relay: Wired) -> None:
    """Not before; a repeated event is forwarded meanwhile."""
    device, publisher = await relay.device(), await relay.publisher()
    await publisher.say(open=opening())
    await publisher.hear("opened")
    for _ in range(2):
        await device.say(event=finished())
        event = await publisher.hear("event")
        assert (event.event_id, event.device_id, event.finished.position_us) == (1, "lobby", 5)
    await publisher.say(event_ack=pb.EventAck(device_id="lobby", event_id=1))
    await device.hear("open")
    response = await device.call.read()
    assert response.event_ack.event_id == 1


async def test_a_device_that_reads_nothing_is_dropped(relay: Wired, monkeypatch: pytest.MonkeyPatch) -> None:
    """It granted more credit than it reads; its publisher continues, and its session waits for its return."""
    monkeypatch.setattr(write_watch, "WRITES_WITHIN_S", 0.2)
    device, publisher = await relay.device(buffer=pb.Credit(audio_bytes=1 << 30)), await relay.publisher()
    relay.relay.operator.session("lobby").flight = CongestionWindow(1 << 30)  # no pings are awaited: the writes themselves must not hang
    await publisher.say(open=opening(motion=False))
    feeding = asyncio.create_task(_feed(publisher))
    async with asyncio.timeout(PATIENCE_S):
        while relay.relay.operator.session("lobby").attached:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # no event signals it
    assert await device.ended() == (grpc.StatusCode.DEADLINE_EXCEEDED, Fault(Reason.PEER_SILENT, ANY, retry_after_ms=1_000))
    assert not feeding.done()
    feeding.cancel()


async def test_a_device_that_talks_and_reads_nothing_is_dropped(relay: Wired) -> None:
    """The data in flight stays small; its own pings do not keep it alive if ours are not answered."""
    device, publisher = await relay.device(buffer=pb.Credit(audio_bytes=1 << 20)), await relay.publisher()
    await publisher.say(open=opening(motion=False))
    await publisher.say(media=media(*(audio(seq, bytes(1 << 14)) for seq in range(1, 9))))
    session = relay.relay.operator.session("lobby")
    async with asyncio.timeout(PATIENCE_S):
        while session.attached:
            await device.say(ping=pb.Ping(id=1))
            relay.clock.now_us += 1_000_000
            await asyncio.sleep(0.02)
    assert session.outbox.waiting("c1") >= (1 << 17) - FIRST_WINDOW_BYTES - (1 << 14)
    assert await device.ended() == (grpc.StatusCode.RESOURCE_EXHAUSTED, Fault(Reason.LIMIT_REACHED, ANY, retry_after_ms=1_000))


async def _feed(publisher: Stream) -> None:
    seq, granted = 0, 0
    while True:
        granted += (await publisher.call.read()).credit.credit.audio_bytes
        while granted >= 1 << 20:
            seq, granted = seq + 1, granted - (1 << 20)
            await publisher.say(media=media(audio(seq, bytes(1 << 20))))
