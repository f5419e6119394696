"""Invalid input of a backend, sent by hand to a real pair: each fault has its stable reason and a helpful text, and the
next conversation plays normally.

For faults that end a stream (a wrong first message, a second hello, silence), and vanished peers, see `relay_server/service/`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2

from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb
from avatar_relay.v1 import publisher_service_pb2_grpc as publisher_grpc
from tests.lab.programs import Program, python, running

Request = publisher_pb.PublishRequest
PCM = pb.AudioFormat(codec=pb.AudioFormat.CODEC_PCM_S16LE, sample_rate_hz=16_000)
OGG = pb.AudioFormat(codec=pb.AudioFormat.CODEC_OGG_OPUS)
OPUS = pb.AudioFormat(codec=pb.AudioFormat.CODEC_OPUS)
JAW = pb.MotionFormat(encoding=pb.MotionFormat.ENCODING_BLENDSHAPE_WEIGHTS, blendshape_names=["jawOpen"], keyframes_per_second=25)
AVATARKIT = pb.MotionFormat(encoding=pb.MotionFormat.ENCODING_AVATARKIT_V2, keyframes_per_second=25)
SOUND = pb.Payload(kind=pb.KIND_AUDIO, data=bytes(3_200))
END = Request(end=pb.ConversationEnd())
RELAY = [*python("relay_server"), "--listen", "127.0.0.1:0"]


def opening(
    audio: pb.AudioFormat = PCM, motion: pb.MotionFormat | None = None, *, target: str = "lobby", conversation_id: str = ""
) -> publisher_pb.PublishRequest:
    """Opens a conversation; without an id the relay mints one."""
    open_ = pb.ConversationOpen(conversation_id=conversation_id, audio_format=audio, motion_format=motion)
    return Request(open=publisher_pb.PublishOpen(open=open_, targets=[target]))


def media(*payloads: pb.Payload, conversation: str = "") -> publisher_pb.PublishRequest:
    """Payloads of the conversation opened last."""
    return Request(media=pb.Media(conversation_id=conversation, payloads=payloads))


def mouth(data: bytes, *, seq: int = 0, fragment_offset: int = 0, total_bytes: int = 0) -> pb.Payload:
    """A motion payload, or a fragment of one."""
    return pb.Payload(
        kind=pb.KIND_MOTION, data=data, pts_us=0, duration_us=40_000, seq=seq, fragment_offset=fragment_offset, total_bytes=total_bytes
    )


def row(value: float) -> bytes:
    """One weight."""
    return np.float32(value).tobytes()


@dataclass(frozen=True, slots=True)
class Case:
    """Input and expected result."""

    name: str
    requests: Sequence[publisher_pb.PublishRequest]
    reason: str
    says: str
    """A pattern for the fault's text."""


CASES = [
    Case("bad rate", [opening(pb.AudioFormat(codec=PCM.codec, sample_rate_hz=11_025))], "AUDIO_FORMAT_UNSUPPORTED", r"11025 Hz.*16000"),
    Case("stereo", [opening(pb.AudioFormat(codec=PCM.codec, sample_rate_hz=16_000, channels=2))], "AUDIO_FORMAT_UNSUPPORTED", "mono"),
    Case("no codec", [opening(pb.AudioFormat(sample_rate_hz=16_000))], "AUDIO_FORMAT_UNSUPPORTED", "codec"),
    Case(
        "weights without names",
        [opening(PCM, pb.MotionFormat(encoding=JAW.encoding, keyframes_per_second=25))],
        "MOTION_FORMAT_UNSUPPORTED",
        "names",
    ),
    Case("bad id", [opening(conversation_id="a/b")], "CONVERSATION_ID_INVALID", "A-Z"),
    Case("unknown device", [opening(target="nobody")], "DEVICE_UNKNOWN", "nobody.*ListDevices"),
    Case("empty payload", [opening(), media(pb.Payload(kind=pb.KIND_AUDIO))], "PAYLOAD_INVALID", "never empty"),
    Case("no kind", [opening(), media(pb.Payload(data=b"x"))], "PAYLOAD_INVALID", "kind"),
    Case("oversized", [opening(), media(pb.Payload(kind=pb.KIND_AUDIO, data=b"x", total_bytes=3 << 20))], "PAYLOAD_TOO_LARGE", "2097152"),
    Case(
        "fragment out of bounds",
        [opening(PCM, JAW), media(SOUND, mouth(bytes(8), fragment_offset=4, total_bytes=8))],
        "FRAGMENT_INVALID",
        "outside",
    ),
    Case(
        "fragment without its beginning",
        [opening(PCM, JAW), media(SOUND, mouth(bytes(4), seq=1, fragment_offset=4, total_bytes=8)), END],
        "FRAGMENT_INVALID",
        ".",
    ),
    Case("truncated", [opening(PCM, JAW), media(SOUND, mouth(bytes(4), seq=1, total_bytes=8)), END], "PAYLOAD_TRUNCATED", "."),
    Case("end without sound", [opening(), END], "NO_AUDIO", "audio"),
    Case(
        "undecodable ogg",
        [opening(OGG), media(pb.Payload(kind=pb.KIND_AUDIO, data=b"RIFF" + bytes(200_000))), END],
        "AUDIO_UNDECODABLE",
        "Ogg",
    ),
    Case(
        "undecodable opus",
        [opening(OPUS), media(pb.Payload(kind=pb.KIND_AUDIO, data=b"\xff" * 9, duration_us=20_000)), END],
        "AUDIO_UNDECODABLE",
        "Opus",
    ),
    Case("undecodable motion", [opening(PCM, AVATARKIT), media(SOUND, mouth(b"\x08\x01garbage")), END], "MOTION_UNDECODABLE", "."),
    Case("half a row of weights", [opening(PCM, JAW), media(SOUND, mouth(b"\0\0\0")), END], "MOTION_UNDECODABLE", "."),
    Case("NaN", [opening(PCM, JAW), media(SOUND, mouth(row(float("nan")))), END], "MOTION_UNDECODABLE", "finite|NaN|number"),
    Case("infinite", [opening(PCM, JAW), media(SOUND, mouth(row(float("inf")))), END], "MOTION_UNDECODABLE", "finite|inf|number"),
    Case(
        "after its end",
        [opening(conversation_id="over"), media(SOUND), END, media(SOUND, conversation="over")],
        "after_end|conversation_closed",
        "",
    ),
]
GOOD = [opening(PCM, JAW), media(SOUND, mouth(row(0.5))), END]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """One relay with the device `lobby` for all cases: any effect of one case is visible to the next."""
    folder: Path = tmp_path_factory.mktemp("bad-input")
    async with running("relay-server", RELAY, folder / "relay.log", {}) as relay:
        found: Program = relay
        address = (await found.wait_for(r"listening on (\S+)", 20))[1]
        command = [*python("edge_client"), "--relay", address, "--device-id", "lobby", "--audio-sink", "virtual", "--renderer", "none"]
        async with running("edge-client", [*command, "--log-level", "info"], folder / "edge.log", {}) as device:
            await device.wait_for("attached to", 20)
            yield address


async def publish(address: str, requests: Sequence[publisher_pb.PublishRequest]) -> list[publisher_pb.PublishResponse]:
    """Send everything on a separate stream; return all answers until the relay ends it."""
    async with grpc.aio.insecure_channel(address) as channel:
        return [answer async for answer in publisher_grpc.PublisherServiceStub(channel).Publish(iter(requests), timeout=20)]


def faults(answers: Sequence[publisher_pb.PublishResponse]) -> list[tuple[str, str]]:
    """Return reason and text of each reported fault, and the reason of each drop."""
    told = []
    for answer in answers:
        if answer.HasField("conversation_error"):
            status, info = answer.conversation_error.status, error_details_pb2.ErrorInfo()
            assert any(detail.Unpack(info) for detail in status.details)
            assert info.domain == "avatar-relay"
            told.append((info.reason, status.message))
        if answer.HasField("event") and answer.event.HasField("dropped"):
            told.append((answer.event.dropped.reason, ""))
    return told


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_told_and_survived(address: str, case: Case) -> None:
    """The fault is reported with its reason, on the stream, which survives; the conversation after it plays to its end."""
    told = faults(await publish(address, case.requests))
    matching = [text for reason, text in told if re.fullmatch(case.reason, reason)]
    assert matching, told
    if case.name == "truncated":
        assert len(told) == 1, "relay and device see it alike"
    assert re.search(case.says, matching[0], re.IGNORECASE), matching[0]

    answers = await publish(address, GOOD)
    assert faults(answers) == []
    finished = [answer.event.finished for answer in answers if answer.HasField("event") and answer.event.HasField("finished")]
    assert [(one.reason, one.interrupted) for one in finished] == [("completed", False)]
    assert finished[0].position_us == pytest.approx(100_000, abs=20_000)
