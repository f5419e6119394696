"""One trace from the Server SDK's session to the picture: real programs, a stand-in Motion Server, asserted at the span receiver."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.lab.otlp import OtlpReceiver, ReceivedSpan
from tests.lab.programs import attached, python, running
from tests.relay_server.sources.avatarkit.motion_server import API_KEY, Mode, MotionServer
from tests.relay_server.sources.avatarkit.stages.test_programs import edge_finished, say, write_config

PATIENCE_S = 40.0
TEXT = "This sentence was spoken here, and its motion was made by a Server SDK."
DEVICE = {"device.receive", "device.decode", "device.buffer", "device.first_sound", "device.first_picture", "device.play"}
RELAY = {"relay.speak", "relay.receive", "relay.queue", "relay.send"}


async def spans_of(mode: Mode, folder: Path, *, leaves: str = "") -> list[ReceivedSpan]:
    """Return a conversation's spans at the receiver; the device may be `stopped` or `killed` in the middle of it."""
    pytest.importorskip("spatius", reason="the package spatius is not installed")
    server = MotionServer(mode, stop_after=1)
    async with server.serving(), OtlpReceiver() as receiver, asyncio.timeout(PATIENCE_S):
        export = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        export["OTEL_BSP_SCHEDULE_DELAY"] = "200"
        config = write_config("spatius", server, folder)
        config.write_text(config.read_text().replace("warm_sessions = 1", "warm_sessions = 0"))
        relay_command = [*python("relay_server"), "--listen", "127.0.0.1:0", "--config", str(config), "--drain-grace-ms", "500"]
        relay_environment = {"AVATAR_RELAY_SPATIUS_API_KEY": API_KEY, **export}
        async with running("relay-server", relay_command, folder / "relay.log", relay_environment) as relay:
            address = (await relay.wait_for(r"listening on (\S+)", PATIENCE_S))[1]
            command = [*python("edge_client"), "--relay", address, "--device-id", "lobby", "--headless", "--renderer", "flat"]
            command += ["--audio-sink", "virtual", "--size", "320x192"]
            async with running("edge-client", command, folder / "edge.log", export) as device:
                await attached(address, "lobby")
                await say(address, TEXT)
                await (asyncio.sleep(1.5) if leaves else edge_finished(address))
                if leaves == "killed":
                    device.kill()
    return receiver.spans


def below(spans: list[ReceivedSpan], root: ReceivedSpan) -> list[ReceivedSpan]:
    """Return all spans of a tree; fails if a span's parent did not arrive."""
    known = {span.span_id for span in spans}
    assert [span.name for span in spans if span.parent_span_id and span.parent_span_id not in known] == []
    assert {span.trace_id for span in spans} == {root.trace_id}
    return spans


async def test_one_trace_from_the_session_to_the_picture(tmp_path: Path) -> None:
    """Session and request of the SDK, the relay, the device: each once, under the source's span."""
    spans = await spans_of(Mode.WELL, tmp_path)
    (root,) = [span for span in spans if not span.parent_span_id]
    assert (root.service, root.name, root.attributes["avatar.source"]) == ("relay-server", "source.perform", "spatius")
    found = {span.name: span for span in below(spans, root)}
    assert set(found) == {"source.perform", "source.session", "source.request"} | RELAY | DEVICE
    assert len(spans) == len(found)
    assert all(span.ok for span in spans)
    session, request, picture = found["source.session"], found["source.request"], found["device.first_picture"]
    assert session.parent_span_id == request.parent_span_id == found["relay.speak"].parent_span_id == root.span_id
    assert root.start_ns <= session.start_ns <= session.end_ns <= request.start_ns <= request.end_ns <= root.end_ns
    assert request.attributes["avatar.motion.keyframes"] > 50
    assert picture.end_ns > request.start_ns


@pytest.mark.slow
async def test_failures_are_on_their_spans(tmp_path: Path) -> None:
    """A session that breaks: its request has the reason, and another session and request follow."""
    spans = await spans_of(Mode.CLOSE_1011, tmp_path)
    (root,) = [span for span in spans if not span.parent_span_id]
    requests = [span for span in below(spans, root) if span.name == "source.request"]
    assert [(span.ok, span.attributes["avatar.source.session"]) for span in requests] == [(False, 1), (True, 2)]
    assert [span.ok for span in spans if span.name == "source.session"] == [True, True]
    assert {span.name for span in spans} >= DEVICE


@pytest.mark.slow
@pytest.mark.parametrize("leaves", ["stopped", "killed"])
async def test_device_that_leaves_leaves_no_orphans(tmp_path: Path, leaves: str) -> None:
    """While it plays. If stopped, it ends its current spans and reports that; if killed, it cannot."""
    spans = await spans_of(Mode.WELL, tmp_path, leaves=leaves)
    (root,) = [span for span in spans if not span.parent_span_id]
    by_name = {span.name: span for span in below(spans, root)}
    assert by_name["device.first_sound"].ok
    assert ("device.receive" in by_name) == (leaves == "stopped")
    assert leaves == "killed" or not by_name["device.receive"].ok
