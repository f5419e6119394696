"""One trace from a backend's own span to the loudspeaker and the screen: real programs, asserted at the span receiver.

The exporters' own results are unreliable (`force_flush` returns True while the collector is down), so everything is read from
a real OTLP/gRPC endpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import grpc
import numpy as np
import pytest

from avatar_relay import weights
from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat
from avatar_relay.publisher import Publisher
from avatar_relay.tracing import SHUTDOWN_S, current_context, start_telemetry
from avatar_relay.v1 import media_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2 as publisher_pb
from avatar_relay.v1 import publisher_service_pb2_grpc as publisher_grpc
from tests.lab.otlp import OtlpReceiver, ReceivedSpan
from tests.lab.programs import python, running

PCM = AudioFormat(Codec.PCM_S16LE, 16_000)
JAW = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 25.0, ("jawOpen",))
RELAY = [*python("relay_server"), "--listen", "127.0.0.1:0", "--drain-grace-ms", "500"]


def edge(address: str, conversations: int) -> list[str]:
    """An edge client with sound and a picture, without hardware."""
    command = [*python("edge_client"), "--relay", address, "--device-id", "lobby", "--headless", "--renderer", "flat"]
    return [*command, "--audio-sink", "virtual", "--log-level", "info", "--exit-after-finished", str(conversations)]


async def speak(address: str) -> None:
    """Publish a second of sound with a moving mouth."""
    async with Publisher.connect(address) as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM, motion_format=JAW)
        conversation_id = await avatar.yield_audio_data(bytes(32_000))
        assert await avatar.yield_frames_data([weights.write(np.linspace(0, 1, 25, dtype=np.float32)[:, None])], conversation_id)
        await avatar.yield_audio_data(b"", end=True)
        assert (await avatar.finished(conversation_id)).reason == "completed"


async def drop_by_hand(address: str, traceparent: str) -> list[str]:
    """Publish by hand what must be dropped: motion after `audio_only`. Returns the reasons sent to the publisher."""
    audio = pb.AudioFormat(codec=pb.AudioFormat.CODEC_PCM_S16LE, sample_rate_hz=16_000)
    motion = pb.MotionFormat(encoding=pb.MotionFormat.ENCODING_BLENDSHAPE_WEIGHTS, blendshape_names=["jawOpen"], keyframes_per_second=25)
    context = pb.TraceContext(traceparent=traceparent)
    opening = pb.ConversationOpen(conversation_id="dropped", audio_format=audio, motion_format=motion, trace_context=context)
    sound = pb.Payload(kind=pb.KIND_AUDIO, data=bytes(6_400))
    mouth = pb.Payload(kind=pb.KIND_MOTION, data=bytes(4), pts_us=0, duration_us=40_000)
    request = publisher_pb.PublishRequest
    requests = [
        request(open=publisher_pb.PublishOpen(open=opening, targets=["lobby"])),
        request(media=pb.Media(conversation_id="dropped", payloads=[sound])),
        request(audio_only=pb.AudioOnly(conversation_id="dropped")),
        request(media=pb.Media(conversation_id="dropped", payloads=[mouth])),
        request(end=pb.ConversationEnd(conversation_id="dropped")),
    ]
    async with grpc.aio.insecure_channel(address) as channel:
        stub = publisher_grpc.PublisherServiceStub(channel)
        return [answer.event.dropped.reason async for answer in stub.Publish(iter(requests)) if answer.event.HasField("dropped")]


async def run_pair(folder: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """Run both programs and the backend, all exporting to `endpoint`; return the trace's id and the reported drops."""
    environment = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    telemetry = start_telemetry("backend", "test", "0", environment)
    async with running("relay-server", RELAY, folder / "relay.log", environment) as relay:
        address = (await relay.wait_for(r"listening on (\S+)", 20))[1]
        async with running("edge-client", edge(address, 2), folder / "edge.log", environment) as device:
            await device.wait_for("attached to", 20)
            with telemetry.tracer.start_as_current_span("answer a visitor"):
                context = current_context()
                await speak(address)
                reasons = await drop_by_hand(address, context.traceparent)
            await device.wait(20)
    await asyncio.to_thread(telemetry.shutdown)
    return context.traceparent.split("-")[1], reasons


def of_conversation(spans: list[ReceivedSpan], root: ReceivedSpan, conversation: str) -> dict[str, ReceivedSpan]:
    """The spans below one `relay.receive`, by name."""
    top = next(
        span
        for span in spans
        if span.name == "relay.receive" and (span.attributes["avatar.conversation.id"] == "dropped") == (conversation == "dropped")
    )
    assert top.parent_span_id == root.span_id
    below, found = {top.span_id}, {top.name: top}
    for _ in spans:
        for span in spans:
            if span.parent_span_id in below and span.span_id not in below:
                below.add(span.span_id)
                found[span.name] = span
    return found


async def test_one_trace_from_publish_to_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stage occurs once, under its cause, on one clock; a dropped payload is reported to the publisher and in the trace."""
    before_ns = time.time_ns()
    async with OtlpReceiver() as receiver:
        trace_id, reasons = await run_pair(tmp_path, receiver.endpoint, monkeypatch)
    after_ns = time.time_ns()
    spans = receiver.trace(trace_id)
    assert [span for span in receiver.spans if span.trace_id != trace_id] == []

    (root,) = [span for span in spans if not span.parent_span_id]
    assert (root.service, root.name) == ("backend", "answer a visitor")
    known = {span.span_id for span in spans}
    assert [span.name for span in spans if span.parent_span_id and span.parent_span_id not in known] == []
    assert all(before_ns <= span.start_ns <= span.end_ns <= after_ns and span.ok for span in spans)

    spoken = of_conversation(spans, root, "spoken")
    device = {"device.receive", "device.decode", "device.buffer", "device.first_sound", "device.first_picture", "device.play"}
    assert set(spoken) == {"relay.receive", "relay.queue", "relay.send"} | device
    assert {span.service for name, span in spoken.items() if name.startswith("device.")} == {"edge-client"}
    assert spoken["device.receive"].parent_span_id == spoken["relay.receive"].span_id
    assert 0.9e9 < spoken["device.play"].end_ns - spoken["device.play"].start_ns < 3e9
    assert spoken["device.play"].attributes["avatar.reason"] == "completed"
    assert spoken["relay.receive"].attributes["avatar.motion.payloads"] == spoken["relay.send"].attributes["avatar.motion.payloads"] == 1

    # The device's clock is mapped to the relay's: it received after the relay did, within the stated error.
    receive = spoken["device.receive"]
    error_ns = int(receive.attributes["avatar.clock.error_us"]) * 1_000
    assert 0 < error_ns < 1e9
    assert receive.start_ns >= spoken["relay.receive"].start_ns - error_ns

    dropped = of_conversation(spans, root, "dropped")
    assert dropped["relay.drop"].attributes["avatar.reason"] == "audio_only"
    assert reasons == ["audio_only"]


async def test_an_unreachable_collector_disturbs_nothing(tmp_path: Path) -> None:
    """The conversation plays and the programs end in time, although no collector accepts their spans."""
    environment = {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",  # else each program retries until its own bound of 3 s
    }
    async with contextlib.AsyncExitStack() as stack:
        relay = await stack.enter_async_context(running("relay-server", RELAY, tmp_path / "relay.log", environment))
        address = (await relay.wait_for(r"listening on (\S+)", 20))[1]
        device = await stack.enter_async_context(running("edge-client", edge(address, 1), tmp_path / "edge.log", environment))
        await device.wait_for("attached to", 20)
        await speak(address)
        await device.wait(SHUTDOWN_S + 10)
