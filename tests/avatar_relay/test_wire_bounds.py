"""Each repeated field, text, name and id has its own limit: anything beyond it is refused or cut off before it is stored."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from avatar_relay import limits, wire
from avatar_relay import messages as m
from avatar_relay.device_state import Part, Parts, PartState
from avatar_relay.reasons import Reason
from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb

LONG = "x" * 100_000
PCM = pb.AudioFormat(codec=pb.AudioFormat.CODEC_PCM_S16LE, sample_rate_hz=16_000)
CURSORS = [pb.Cursor(conversation_id="c")] * (limits.MAX_CLOSED_CONVERSATIONS + 1)


def opening(**more: Any) -> pb.ConversationOpen:
    return pb.ConversationOpen(conversation_id="c", audio_format=PCM, **more)


def weights(names: list[str]) -> pb.ConversationOpen:
    encoding = pb.MotionFormat.ENCODING_BLENDSHAPE_WEIGHTS
    return opening(motion_format=pb.MotionFormat(encoding=encoding, keyframes_per_second=30, blendshape_names=names))


def hello(**more: Any) -> device_pb.AttachRequest:
    return device_pb.AttachRequest(hello=device_pb.Hello(device_id="d", protocol_version=1, **more))


FROM_DEVICES = [
    hello(cursors=CURSORS),
    hello(session_token=LONG),
    hello(codecs=[pb.AudioFormat.CODEC_OPUS] * 1_000),
    hello(motion_encodings=[pb.MotionFormat.ENCODING_AVATARKIT_V2] * 1_000),
    hello(cursors=[pb.Cursor(conversation_id=LONG)]),
    device_pb.AttachRequest(held=pb.Held(cursors=CURSORS)),
    device_pb.AttachRequest(parts=pb.Parts(parts=[pb.Part()] * (limits.MAX_PARTS + 1))),
    device_pb.AttachRequest(event=pb.PlayerEvent(event_id=1, conversation_id=LONG, started=pb.PlaybackStarted())),
]
FROM_PUBLISHERS = [
    publisher_pb.PublishRequest(open=publisher_pb.PublishOpen(open=opening(), targets=["lobby"] * 590_000)),
    publisher_pb.PublishRequest(open=publisher_pb.PublishOpen(open=opening(), targets=[LONG])),
    publisher_pb.PublishRequest(hello=publisher_pb.PublisherHello(publisher_id="p", protocol_version=1, session_token=LONG)),
    publisher_pb.PublishRequest(interrupt=pb.Interrupt(conversation_id=LONG)),
    publisher_pb.PublishRequest(media=pb.Media(conversation_id=LONG, payloads=[pb.Payload(kind=pb.KIND_AUDIO, data=b"ab")])),
    publisher_pb.PublishRequest(media=pb.Media(conversation_id="c", payloads=[pb.Payload()] * (limits.MAX_MESSAGE_PAYLOADS + 1))),
    publisher_pb.PublishRequest(
        open=publisher_pb.PublishOpen(
            open=opening(
                motion_format=pb.MotionFormat(
                    encoding=pb.MotionFormat.ENCODING_BLENDSHAPE_WEIGHTS,
                    keyframes_per_second=30,
                    blendshape_names=[f"{LONG}{n}" for n in range(3)],
                )
            )
        )
    ),
]
FROM_RELAYS = [
    device_pb.AttachResponse(welcome=device_pb.Welcome(lost_conversation_ids=["c"] * 500_000)),
    device_pb.AttachResponse(welcome=device_pb.Welcome(session_token=LONG)),
    device_pb.AttachResponse(media=pb.Media(conversation_id="c", payloads=[pb.Payload()] * (limits.MAX_DEVICE_MESSAGE_PAYLOADS + 1))),
    device_pb.AttachResponse(open=weights([f"n{n}" for n in range(1_000)])),
    device_pb.AttachResponse(open=weights([f"{'n' * 15_000}{n}" for n in range(250)])),
    device_pb.AttachResponse(interrupt=pb.Interrupt(conversation_id=LONG)),
    device_pb.AttachResponse(media=pb.Media(conversation_id=LONG, payloads=[pb.Payload(kind=pb.KIND_AUDIO, data=b"ab")])),
    device_pb.AttachResponse(end=pb.ConversationEnd(conversation_id=LONG)),
]


@pytest.mark.parametrize("request_", FROM_DEVICES)
def test_devices(request_: device_pb.AttachRequest) -> None:
    with pytest.raises(wire.WireError):
        wire.attach_request_from_wire(request_)


@pytest.mark.parametrize("request_", FROM_PUBLISHERS)
def test_publishers(request_: publisher_pb.PublishRequest) -> None:
    with pytest.raises(wire.WireError):
        wire.publish_request_from_wire(request_, request_.SerializeToString())


@pytest.mark.parametrize("response", FROM_RELAYS)
def test_relays(response: device_pb.AttachResponse) -> None:
    with pytest.raises(wire.WireError):
        wire.attach_response_from_wire(response)


def test_texts_are_cut_on_entry() -> None:
    """Texts for people may be cut off: they need not end a stream."""
    event = pb.PlayerEvent(event_id=1, conversation_id="c", device_id=LONG, finished=pb.PlaybackFinished(reason=LONG))
    read = wire.attach_request_from_wire(device_pb.AttachRequest(event=event))
    assert isinstance(read, m.PlayerEvent)
    assert isinstance(read.body, m.Finished)
    assert (len(read.body.reason), len(read.device_id)) == (limits.MAX_WORD_CHARACTERS, limits.MAX_ID_CHARACTERS)
    error = pb.ConversationError(conversation_id=LONG, status=status_pb2.Status(code=3, message=LONG))
    told = wire.attach_request_from_wire(device_pb.AttachRequest(conversation_error=error))
    assert isinstance(told, m.ConversationError)
    assert (len(told.fault.text), len(told.conversation_id)) == (limits.MAX_TEXT_CHARACTERS, limits.MAX_ID_CHARACTERS)
    part = pb.Part.FromString(pb.Part(name=LONG, what=LONG, reason=LONG, restart_reason=LONG).SerializeToString() + b"\x10\x63")  # state 99
    parts = wire.attach_request_from_wire(device_pb.AttachRequest(parts=pb.Parts(parts=[part])))
    word, name, text = limits.MAX_WORD_CHARACTERS, limits.MAX_SOFTWARE_CHARACTERS, limits.MAX_TEXT_CHARACTERS
    assert parts == Parts((Part(LONG[:word], PartState.UNSPECIFIED, LONG[:name], LONG[:text], 0, LONG[:text]),))
    traced = publisher_pb.PublishOpen(open=opening(trace_context=pb.TraceContext(traceparent="00-1", tracestate=LONG)), targets=["d"])
    opened = wire.publish_request_from_wire(publisher_pb.PublishRequest(open=traced), b"")
    assert isinstance(opened, m.PublishOpen)
    assert opened.open.trace_context.tracestate == ""


def packed(message: Any) -> any_pb2.Any:
    found = any_pb2.Any()
    found.Pack(message)
    return found


@pytest.mark.parametrize("seconds", [-1, 315_576_000_000])
def test_details_are_bounded_and_may_be_damaged(seconds: int) -> None:
    """A hint of ten thousand years cannot be forwarded; many details would cost time; an incomplete detail is ignored."""
    retry = packed(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds)))
    damaged = any_pb2.Any(type_url="type.googleapis.com/google.rpc.BadRequest", value=b"\xff")
    late = packed(error_details_pb2.ErrorInfo(reason="NO_AUDIO"))
    fault = wire.fault_from_status(status_pb2.Status(code=3, message="m", details=[retry, damaged, *[any_pb2.Any()] * 10, late]))
    assert (fault.reason, fault.field) == (Reason.MESSAGE_INVALID, "")
    assert 0 <= fault.retry_after_ms <= 24 * 3_600_000
    assert wire.fault_from_status(wire.fault_to_status(fault)) == fault


def joined(request: bytes, count: int) -> bytes:
    one = publisher_pb.PublishRequest.FromString(request)
    return publisher_pb.PublishRequest(joined=publisher_pb.JoinedRequests(requests=[one] * count)).SerializeToString()


MANY = pb.Media(conversation_id="c", payloads=[pb.Payload()] * 300_000)
MANY_REQUEST = publisher_pb.PublishRequest(media=MANY).SerializeToString()
TARGETS = publisher_pb.PublishRequest(open=publisher_pb.PublishOpen(targets=[""] * 300_000)).SerializeToString()


@pytest.mark.parametrize("data", [MANY_REQUEST, joined(MANY_REQUEST, 2), TARGETS], ids=["media", "joined", "targets"])
def test_a_large_message_is_counted_before_it_is_parsed(data: bytes) -> None:
    """An empty payload takes forty times as much memory as bytes on the wire."""
    tracemalloc.start()
    with pytest.raises(wire.WireError) as caught:
        wire.check_entries(data)
    assert caught.value.fault.reason is Reason.MESSAGE_TOO_LARGE
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_usual_large_messages_pass() -> None:
    payload = pb.Payload(kind=pb.KIND_AUDIO, seq=1, duration_us=1, data=bytes(16_384))
    data = publisher_pb.PublishRequest(media=pb.Media(conversation_id="c", payloads=[payload] * 250)).SerializeToString()
    assert len(data) > wire.UNCOUNTED_BYTES
    wire.check_entries(data)
    wire.check_entries(joined(publisher_pb.PublishRequest(media=pb.Media(payloads=[payload])).SerializeToString(), 200))
    wire.check_entries(data[:-5])
    wire.check_entries(b"\xff" * 600_000)
