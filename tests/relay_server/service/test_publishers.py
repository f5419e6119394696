"""A publisher's stream over real gRPC, with hello or hand-typed; faults of a conversation are reported, and the stream survives."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from avatar_relay import wire
from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Kind, Payload
from avatar_relay.messages import ConversationEnd, Media, PublisherHello, PublishOpen
from avatar_relay.reasons import Reason
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb
from tests.relay_server.service.wired import PATIENCE_S, PCM, Stream, Wired, audio, finished, media, motion, opening


async def error(stream: Stream) -> tuple[str, Reason]:
    """Return the next fault sent on a stream: conversation and reason."""
    told = await stream.hear("conversation_error")
    fault = wire.fault_from_status(told.status)
    assert fault.text
    return told.conversation_id, fault.reason


async def test_typed_by_hand(relay: Wired) -> None:
    """No hello, no ids, no sequences; the stream ends by itself when the device has played everything."""
    device, publisher = await relay.device(), relay.publisher_stream()
    await publisher.say(open=publisher_pb.PublishOpen(open=pb.ConversationOpen(audio_format=PCM), targets=["lobby"]))
    await publisher.say(media=pb.Media(payloads=[pb.Payload(kind=pb.KIND_AUDIO, data=bytes(40_000))]))
    await publisher.say(end=pb.ConversationEnd())
    await publisher.call.done_writing()
    minted = (await publisher.hear("opened")).conversation_id
    assert (await device.hear("open")).conversation_id == minted
    payloads = [payload for _ in range(3) for payload in (await device.hear("media")).payloads]
    assert [(payload.seq, payload.fragment_offset, payload.total_bytes) for payload in payloads] == [
        (1, 0, 40_000),
        (1, 16_384, 40_000),
        (1, 32_768, 40_000),
    ]
    assert payloads[0].duration_us == 1_250_000
    assert (await device.hear("end")).last_audio_seq == 1
    await device.say(event=finished(conversation_id=minted))
    assert (await publisher.hear("event")).finished.reason == "completed"
    assert await publisher.call.read() is grpc.aio.EOF
    assert await publisher.call.code() is grpc.StatusCode.OK


async def test_half_closing_ends_what_was_left_open(relay: Wired) -> None:
    """After half-close no more media can follow: the conversation is ended, and plays out."""
    device, publisher = await relay.device(), relay.publisher_stream()
    await publisher.say(open=opening(motion=False))
    await publisher.say(media=media(audio(0)))
    await publisher.call.done_writing()
    await device.hear("open")
    await device.hear("media")
    assert (await device.hear("end")).last_audio_seq == 1


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        ([{"hello": publisher_pb.PublisherHello(publisher_id="?", protocol_version=1)}], "INVALID_ARGUMENT", Reason.HELLO_INVALID),
        (
            [{"hello": publisher_pb.PublisherHello(publisher_id="x", protocol_version=2)}],
            "FAILED_PRECONDITION",
            Reason.PROTOCOL_VERSION_UNSUPPORTED,
        ),
        ([{"hello": publisher_pb.PublisherHello(publisher_id="x", protocol_version=1)}] * 2, "INVALID_ARGUMENT", Reason.HELLO_REPEATED),
        (
            [{"ping": pb.Ping()}, {"hello": publisher_pb.PublisherHello(publisher_id="x", protocol_version=1)}],
            "INVALID_ARGUMENT",
            Reason.HELLO_REPEATED,
        ),
        (
            [{"volume": publisher_pb.DeviceVolume(device_id="lobby", volume=pb.SetVolume(gain=float("nan")))}],
            "INVALID_ARGUMENT",
            Reason.VOLUME_INVALID,
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, Reason) else "",
)
async def test_what_ends_a_stream_has_a_reason(relay: Wired, said: list[dict[str, Any]], code: str, reason: Reason) -> None:
    """A fault that does not belong to a conversation ends the RPC; the status carries the reason."""
    stream = relay.publisher_stream()
    for message in said:
        await stream.say(**message)
    status, fault = await stream.ended()
    assert (status.name, fault.reason) == (code, reason)


FAULTY_OPENINGS = [
    (opening("c1", "nobody"), Reason.DEVICE_UNKNOWN),
    (publisher_pb.PublishOpen(open=pb.ConversationOpen(conversation_id="c1", audio_format=PCM)), Reason.TARGETS_MISSING),
    (opening("no spaces"), Reason.CONVERSATION_ID_INVALID),
    (opening(audio_format=pb.AudioFormat(codec=pb.AudioFormat.CODEC_PCM_S16LE, sample_rate_hz=12_345)), Reason.AUDIO_FORMAT_UNSUPPORTED),
    (
        opening(audio_format=pb.AudioFormat(codec=pb.AudioFormat.CODEC_PCM_S16LE, sample_rate_hz=16_000, channels=2)),
        Reason.AUDIO_FORMAT_UNSUPPORTED,
    ),
    (opening(audio_format=pb.AudioFormat()), Reason.AUDIO_FORMAT_UNSUPPORTED),
    (opening(audio_format=pb.AudioFormat(codec=pb.AudioFormat.CODEC_OGG_OPUS)), Reason.AUDIO_FORMAT_UNSUPPORTED),
    (
        opening(motion_format=pb.MotionFormat(encoding=pb.MotionFormat.ENCODING_AVATARKIT_V2, keyframes_per_second=0)),
        Reason.MOTION_FORMAT_UNSUPPORTED,
    ),
    (
        opening(motion_format=pb.MotionFormat(encoding=pb.MotionFormat.ENCODING_AVATARKIT_V2, keyframes_per_second=float("nan"))),
        Reason.MOTION_FORMAT_UNSUPPORTED,
    ),
    (
        opening(motion_format=pb.MotionFormat(encoding=pb.MotionFormat.ENCODING_BLENDSHAPE_WEIGHTS, keyframes_per_second=30)),
        Reason.MOTION_FORMAT_UNSUPPORTED,
    ),
    (opening(on_playing=9), Reason.MESSAGE_INVALID),
]


@pytest.mark.parametrize(("said", "reason"), FAULTY_OPENINGS, ids=[str(reason) for _, reason in FAULTY_OPENINGS])
async def test_a_faulty_opening_harms_nobody(relay: Wired, said: publisher_pb.PublishOpen, reason: Reason) -> None:
    """It is reported with its reason, and the next conversation plays. The device here supports PCM and AvatarKit motion."""
    device, publisher = await relay.device(codecs=[1], motion_encodings=[1]), await relay.publisher()
    await publisher.say(open=said)
    assert (await error(publisher))[1] is reason
    await publisher.say(open=opening("c2"))
    await publisher.hear("opened")
    await publisher.say(media=media(audio(), conversation_id="c2"))
    assert (await device.hear("open")).conversation_id == "c2"
    assert (await device.hear("media")).payloads[0].data == b"ab"


async def test_motion_that_a_device_does_not_understand_leaves_the_sound(relay: Wired) -> None:
    """The publisher is notified after `opened`; the device is sent an opening without motion, and no motion."""
    device, publisher = await relay.device(motion_encodings=[]), await relay.publisher()
    await publisher.say(open=opening("c1"))
    await publisher.hear("opened")
    assert await error(publisher) == ("c1", Reason.MOTION_FORMAT_UNSUPPORTED)
    await publisher.say(media=media(motion(), audio()))
    assert not (await device.hear("open")).HasField("motion_format")
    assert [payload.kind for payload in (await device.hear("media")).payloads] == [pb.KIND_AUDIO]


async def test_a_faulty_opening_typed_by_hand_leaves_the_one_before(relay: Wired) -> None:
    """An unreadable `open` without id does not select the conversation opened before; nor do later messages without id."""
    device, publisher = await relay.device(), relay.publisher_stream()
    await publisher.say(open=opening(motion=False))
    await publisher.hear("opened")
    await publisher.say(open=publisher_pb.PublishOpen(open=pb.ConversationOpen(), targets=["lobby"]))
    assert await error(publisher) == ("", Reason.AUDIO_FORMAT_UNSUPPORTED)
    await publisher.say(media=media(audio(0, b"lost"), conversation_id=""))
    assert await error(publisher) == ("", Reason.CONVERSATION_UNKNOWN)
    await publisher.say(media=media(audio(0, b"kept")))
    await device.hear("open")
    assert (await device.hear("media")).payloads[0].data == b"kept"


FAULTY_MEDIA = {
    "empty": ([audio(data=b"")], Reason.PAYLOAD_INVALID),
    "no payloads": ([], Reason.PAYLOAD_INVALID),
    "no kind": ([pb.Payload(seq=1, data=b"ab")], Reason.PAYLOAD_INVALID),
    "negative pts": ([motion(pts_us=-1)], Reason.PAYLOAD_INVALID),
    "motion without pts": ([motion(pts_us=None)], Reason.PAYLOAD_INVALID),
    "gap": ([audio(2)], Reason.SEQUENCE_GAP),
    "larger than allowed": ([audio(data=bytes((2 << 20) + 1))], Reason.PAYLOAD_TOO_LARGE),
    "larger than the device's buffer": ([audio(data=bytes((1 << 20) + 1))], Reason.PAYLOAD_TOO_LARGE),
    "fragment outside": ([audio(fragment_offset=9, total_bytes=10)], Reason.FRAGMENT_INVALID),
    "fragment missing": ([audio(total_bytes=6), audio(fragment_offset=4, total_bytes=6)], Reason.FRAGMENT_INVALID),
    "payload cut off": ([audio(total_bytes=6), audio(2)], Reason.PAYLOAD_TRUNCATED),
}


@pytest.mark.parametrize(("payloads", "reason"), FAULTY_MEDIA.values(), ids=FAULTY_MEDIA)
async def test_faulty_media_fails_its_conversation_only(relay: Wired, payloads: list[pb.Payload], reason: Reason) -> None:
    """The device clears a conversation without sound; the next one plays."""
    device, publisher = await relay.device(), await relay.publisher()
    await publisher.say(open=opening())
    await publisher.hear("opened")
    await publisher.say(media=media(*payloads))
    assert await error(publisher) == ("c1", reason)
    await publisher.say(open=opening("c2"))
    assert (await publisher.hear("opened")).conversation_id == "c2"
    heard = []
    while "c2" not in heard:
        response = await device.call.read()
        if (name := response.WhichOneof("message")) != "ping":  # on a busy machine one comes meanwhile
            heard.append(getattr(response, name).conversation_id)
    assert heard[0] == "c1"


async def test_what_came_before_a_fault_plays_out(relay: Wired) -> None:
    """The conversation is ended for its publisher, and its id accepts nothing more."""
    device, publisher = await relay.device(), await relay.publisher()
    await publisher.say(open=opening())
    await publisher.say(media=media(audio(1), audio(3)))
    await publisher.hear("opened")
    assert await error(publisher) == ("c1", Reason.SEQUENCE_GAP)
    await device.hear("open")
    await device.hear("media")
    assert (await device.hear("end")).last_audio_seq == 1
    await publisher.say(media=media(audio(2)))
    dropped = (await publisher.hear("event")).dropped
    assert (dropped.payloads, dropped.reason) == (1, "conversation_closed")


async def test_unknown_and_closed_conversations(relay: Wired) -> None:
    """Stable reasons for control and media."""
    device, publisher = await relay.device(), await relay.publisher()
    await publisher.say(pause=pb.Pause(conversation_id="c9"))
    assert await error(publisher) == ("c9", Reason.CONVERSATION_UNKNOWN)
    await publisher.say(media=media(audio(), conversation_id="no spaces"))
    assert (await error(publisher))[1] is Reason.CONVERSATION_UNKNOWN
    await publisher.say(open=opening())
    await publisher.hear("opened")
    await device.say(event=finished())
    await publisher.hear("event")
    await publisher.say(media=media(audio()))
    assert (await publisher.hear("event")).dropped.reason == "conversation_closed"
    await publisher.say(end=pb.ConversationEnd(conversation_id="c1"))
    assert await error(publisher) == ("c1", Reason.CONVERSATION_CLOSED)
    await publisher.say(media=media(motion(), conversation_id="c8"))
    await publisher.say(ping=pb.Ping(id=1))
    await publisher.hear("pong")
    await relay.pass_time(4)
    await publisher.say(ping=pb.Ping(id=2))
    await publisher.hear("pong")
    await relay.pass_time(1)
    assert await error(publisher) == ("c8", Reason.CONVERSATION_UNKNOWN)
    assert (await publisher.hear("event")).dropped.reason == "conversation_unknown"


async def test_credit_is_granted_and_enforced(relay: Wired) -> None:
    """The window is granted with `opened`; exceeding it fails the conversation."""
    device, publisher = await relay.device(buffer=pb.Credit(audio_bytes=1 << 20, motion_bytes=0)), await relay.publisher()
    await publisher.say(open=opening())
    opened = await publisher.hear("opened")
    grant = (await publisher.call.read()).credit
    assert (grant.conversation_id, opened.conversation_id) == ("c1", "c1")
    window = grant.credit.audio_bytes
    for seq in range(1, (window + (1 << 20)) // (1 << 18) + 2):
        await publisher.say(media=media(audio(seq, bytes(1 << 18))))
    await device.hear("open")
    returned = 0
    while (response := await publisher.call.read()).WhichOneof("message") != "conversation_error":
        returned += response.credit.credit.audio_bytes
    assert wire.fault_from_status(response.conversation_error.status).reason is Reason.CREDIT_EXCEEDED
    assert returned <= 1 << 20, "no more comes back than the device was sent"


async def test_a_stream_typed_by_hand_is_not_read_beyond_the_window(relay: Wired) -> None:
    """Without credit the relay stops reading until the device consumes data: nothing is lost, and the queue stays bounded."""
    device = await relay.device(buffer=pb.Credit(audio_bytes=1 << 18))
    publisher = relay.publisher_stream()
    await publisher.say(open=opening(motion=False))
    await publisher.hear("opened")
    window, count = relay.relay.config.window_bytes, 40
    writing = asyncio.create_task(_write_all(publisher, count))
    received, largest = 0, 0
    await device.hear("open")
    while received < count << 18:
        batch = await device.hear("media")
        size = sum(len(payload.data) for payload in batch.payloads)
        received += size
        largest = max(largest, relay.relay.operator.session("lobby").outbox.waiting("c1"))
        await device.say(credit=pb.Credit(audio_bytes=size))
    await writing
    assert largest <= window + (1 << 18)
    assert (await device.hear("end")).last_audio_seq == count


async def _write_all(publisher: Stream, count: int) -> None:
    for _ in range(count):
        await publisher.say(media=media(audio(0, bytes(1 << 18))))
    await publisher.say(end=pb.ConversationEnd())


async def test_a_vanished_publisher_is_ended_for(relay: Wired) -> None:
    """Ended after its lease; received media plays out."""
    device, publisher = await relay.device(), await relay.publisher()
    await publisher.say(open=opening())
    await publisher.say(media=media(audio(1), audio(2)))
    await device.hear("open")
    await device.hear("media")
    publisher.call.cancel()
    await _until_gone(relay)
    await relay.pass_time(4)
    await device.say(ping=pb.Ping(id=1))
    await device.hear("pong")
    await relay.pass_time(1)
    assert (await device.hear("end")).last_audio_seq == 2


async def test_a_publisher_that_falls_silent_is_given_up(relay: Wired) -> None:
    """Its connection is half open: the stream ends with a reason, and after the lease the conversation plays out. A ping keeps it alive."""
    device, publisher = await relay.device(), await relay.publisher()
    await publisher.say(open=opening())
    await publisher.hear("opened")
    await publisher.say(media=media(audio(1), audio(2)))
    await device.hear("open")
    await device.hear("media")
    for _ in range(2):
        await _pass_time_with(device, relay, 3.9)
        await _pings(publisher)
    await _pass_time_with(device, relay, 4.25)
    status, fault = await publisher.ended()
    assert (status, fault.reason, fault.retry_after_ms) == (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.PEER_SILENT, 0)
    await _until_gone(relay)
    await _pass_time_with(device, relay, 5)
    assert (await device.hear("end")).last_audio_seq == 2


async def _pings(stream: Stream) -> None:
    await stream.say(ping=pb.Ping(id=1))
    await stream.hear("pong")


async def _pass_time_with(device: Stream, relay: Wired, seconds: float) -> None:
    """Let time pass while the device keeps sending."""
    for _ in range(2):
        await _pings(device)
        await relay.pass_time(seconds / 2)


async def test_who_types_by_hand_may_pause_for_thought(relay: Wired) -> None:
    """Without hello there is no heartbeat: such a stream lives until it is closed."""
    device, by_hand = await relay.device(), relay.publisher_stream()
    await by_hand.say(open=opening(motion=False))
    await by_hand.hear("opened")
    await device.hear("open")
    await _pass_time_with(device, relay, 6)
    await by_hand.say(interrupt=pb.Interrupt())
    await device.hear("interrupt")


async def test_who_said_all_is_not_silent(relay: Wired) -> None:
    """It waits for the end of what it published."""
    device, port = await relay.device(), relay.relay.connect_publisher()
    await port.send(PublisherHello("backend", 1, ""))
    await port.send(PublishOpen(ConversationOpen("c1", AudioFormat(Codec.PCM_S16LE, 16_000)), ("lobby",)))
    await port.send(Media("c1", (Payload(Kind.AUDIO, 1, bytes(3_200), 0, 100_000),)))
    await port.send(ConversationEnd("c1", 1))
    port.finish_sending()
    for name in ("open", "media", "end"):
        await device.hear(name)
    await _pass_time_with(device, relay, 6)
    assert not port.ended
    await device.say(event=finished(1, "c1"))
    async with asyncio.timeout(PATIENCE_S):
        while await port.receive() is not None:
            pass
    assert port.fault is None


async def test_a_publisher_comes_back_within_its_lease(relay: Wired) -> None:
    """It presents its token, receives the missed events, and its conversations survive."""
    device, publisher = await relay.device(), await relay.publisher()
    await publisher.say(open=opening())
    await publisher.say(media=media(audio(1)))
    await device.hear("open")
    publisher.call.cancel()
    await _until_gone(relay)
    await device.say(event=pb.PlayerEvent(event_id=1, conversation_id="c1", started=pb.PlaybackStarted()))
    again = relay.publisher_stream()
    token = publisher.token  # type: ignore[attr-defined]
    await again.say(hello=publisher_pb.PublisherHello(publisher_id="backend", protocol_version=1, session_token=token))
    welcome = await again.hear("welcome")
    assert (welcome.session_token, welcome.limits.lease_ms) == (token, 5_000)
    while (response := await again.call.read()).WhichOneof("message") != "event":
        assert response.WhichOneof("message") in ("opened", "credit")
    await again.say(end=pb.ConversationEnd(conversation_id="c1", last_audio_seq=1))
    await device.hear("media")
    assert (await device.hear("end")).last_audio_seq == 1


async def _until_gone(relay: Wired) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while any(publisher.connected for publisher in relay.relay.publishers.known()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # no event signals that a publisher's stream broke


async def test_a_second_stream_of_a_publisher_takes_over(relay: Wired) -> None:
    """The old stream is notified and ends with ABORTED."""
    old = await relay.publisher()
    await relay.publisher()
    assert (await old.hear("goaway")).reason == "replaced"
    status, fault = await old.ended()
    assert (status, fault.reason) == (grpc.StatusCode.ABORTED, Reason.REPLACED)
