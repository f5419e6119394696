"""One conversation through the real programs: Server SDK, relay-server and edge-client, with a stand-in for the vendor's cloud.

Checks that all motion of the WebSocket reaches the device and is shown, the sound plays to its end, pictures and WAV exist, and
no output of the two programs contains a credential, although the stand-in writes them into its error texts: logs at
the most verbose level, traces, metrics, the output of an operator's `watch`, and the figures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import wave
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc
import numpy as np
import pytest

from avatar_relay.v1 import admin_service_pb2, admin_service_pb2_grpc
from tests.lab.otlp import SIGNALS, OtlpReceiver
from tests.lab.programs import Program, attached, python, running
from tests.relay_server.sources.avatarkit.motion_server import API_KEY, APP_ID, AVATAR_ID, TOKEN, Mode, MotionServer
from tests.relay_server.sources.avatarkit.rig import SDKS

PATIENCE_S = 60.0
TEXT = "This sentence was spoken here, and its motion was made by a Server SDK. Then the device drew the face."
SECRETS = (API_KEY.encode(), TOKEN.encode())
REACHED: dict[str, tuple[bytes, ...]] = {
    "relay.log": (b"SOURCE_REFUSED", b"[redacted]", b"request="),
    "edge.log": (b"DEBUG",),
    "edge-summary.json": (b"keyframes_received",),
    "trace": (b"relay.speak", b"relay.send", b"device.play"),
    "metrics": (b"avatar.source.failures", b"SOURCE_REFUSED", b"avatar.device.keyframes"),
    "watched": (b"SOURCE_REFUSED", b"[redacted]"),
}
"""Words that each place must contain; otherwise the run did not reach it and searching it proves nothing."""


def tell(text: str) -> None:
    """Print progress."""
    sys.stdout.write(f"  {text}\n")


def write_config(sdk: str, server: MotionServer, out: Path) -> Path:
    """Write the relay's configuration: four values, and the address of the stand-in."""
    path = out / "relay.toml"
    path.write_text(
        f'[devices.lobby]\nsource = "{sdk}"\n\n[{sdk}]\napp_id = "{APP_ID}"\navatar_id = "{AVATAR_ID}"\nwarm_sessions = 1\n'
        f'console_url = "{server.console_url}"\ningress_url = "{server.ingress_url}"\n',
        encoding="utf-8",
    )
    return path


async def say(address: str, text: str) -> str:
    """Make the device speak; return the conversation's id."""
    async with grpc.aio.insecure_channel(address) as channel:
        admin = admin_service_pb2_grpc.AdminServiceStub(channel)
        answer = await admin.Speak(admin_service_pb2.SpeakRequest(target="lobby", text=text), timeout=PATIENCE_S)
        return str(answer.conversation_id)


async def converse(sdk: str, out: Path) -> None:
    """Run everything. Raises `AssertionError` if something is missing."""
    server = MotionServer()
    watched: list[bytes] = []
    async with server.serving(), OtlpReceiver() as collector:
        export = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        environment = {f"AVATAR_RELAY_{sdk.upper()}_API_KEY": API_KEY, **export}
        command = [
            *python("relay_server"),
            "--listen",
            "127.0.0.1:0",
            "--config",
            str(write_config(sdk, server, out)),
            "--log-level",
            "debug",
        ]
        async with running("relay-server", command, out / "relay.log", environment) as relay:
            address = (await relay.wait_for(r"listening on (\S+)", PATIENCE_S))[1]
            command = [*python("edge_client"), "--relay", address, "--device-id", "lobby", "--headless", "--audio-sink", "virtual"]
            command += ["--renderer", "flat", "--size", "320x192", "--record", str(out), "--exit-after-finished", "2"]
            async with running("edge-client", [*command, "--log-level", "debug"], out / "edge.log", export) as edge:
                watching = asyncio.create_task(watch(address, watched))
                await speak_twice(server, address, edge)
                watching.cancel()
        left = {name: (out / name).read_bytes() for name in ("relay.log", "edge.log", "edge-summary.json")}
        left |= {signal: collector.received(signal) for signal in SIGNALS} | {"watched": b"".join(watched)}
    check(server, out)
    search(left)


async def watch(address: str, watched: list[bytes]) -> None:
    """Record all events sent to an operator, until cancelled."""
    async with grpc.aio.insecure_channel(address) as channel:
        admin = admin_service_pb2_grpc.AdminServiceStub(channel)
        async for event in admin.WatchEvents(admin_service_pb2.WatchEventsRequest()):
            watched.append(event.SerializeToString())  # noqa: PERF401  # it is cancelled, and keeps what came


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition at the stand-in."""
    while True:
        if holds():
            return
        await asyncio.sleep(0.05)


async def edge_finished(address: str) -> None:
    """Wait until nothing plays on the device."""
    async with grpc.aio.insecure_channel(address) as channel:
        admin = admin_service_pb2_grpc.AdminServiceStub(channel)
        while True:
            answer = await admin.GetDevice(admin_service_pb2.GetDeviceRequest(device_id="lobby"))
            if not answer.device.conversations:
                return
            await asyncio.sleep(0.1)


async def speak_twice(server: MotionServer, address: str, edge: Program) -> None:
    """A warm conversation, then one whose session is refused midway by a server that leaks secrets."""
    async with asyncio.timeout(PATIENCE_S):
        await attached(address, "lobby")
        await until(lambda: bool(server.counts.handshakes))
        before = (server.counts.tokens, server.counts.upgrades)
        await say(address, TEXT)
        if (server.counts.tokens, server.counts.upgrades) != before:
            raise AssertionError("a warm conversation needed a new token or WebSocket")
        await until(lambda: any(request.ended for request in server.requests.values()))
        await edge_finished(address)
        server.mode, server.echo = Mode.CLOSE_4010, f"key {API_KEY} token {TOKEN}"
        await say(address, TEXT)
        await edge.wait(PATIENCE_S)


def check(server: MotionServer, out: Path) -> None:
    """Compare the programs' output with what the stand-in sent."""
    first, second = list(server.requests.values())[:2]
    summary = json.loads((out / "edge-summary.json").read_text())
    expected = first.keyframes + second.keyframes
    # the motion in transit when the session was refused is the stand-in's last window
    if not first.keyframes <= summary["keyframes_received"] <= expected:
        raise AssertionError(f"{summary['keyframes_received']} keyframes at the device, {expected} on the WebSocket")
    reasons = [conversation["playback_finished"]["reason"] for conversation in summary["conversations"]]
    with wave.open(str(out / "played.wav")) as file:
        played = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    pictures = [name for name in ("face.gif", "contact-sheet.png") if (out / name).is_file()]
    if not np.any(played) or len(pictures) < 2 or not summary["frames_shown"]:
        raise AssertionError(f"no sound or no pictures: {pictures} {summary}")
    tell(f"{len(first.sent)} + {len(second.sent)} motion messages, {summary['keyframes_received']} keyframes at the device")
    tell(f"{np.count_nonzero(played)} samples of sound, {summary['frames_shown']} pictures, finished: {', '.join(reasons)}")


def search(left: Mapping[str, bytes]) -> None:
    """Check that no output contains a credential. Raises `AssertionError` if one does, or if a place was never reached."""
    for name, words in REACHED.items():
        if missing := [word.decode() for word in words if word not in left[name]]:
            raise AssertionError(f"{name}: holds none of {', '.join(missing)}: searching it proves nothing")
    if found := [name for name, data in left.items() if any(secret in data for secret in SECRETS)]:
        raise AssertionError(f"a credential is in {', '.join(found)}")
    sizes = ", ".join(f"{name} {len(data)} B" for name, data in left.items())
    tell(f"no credential, though the server wrote them into its errors: {sizes}")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("sdk", SDKS)
async def test_programs(sdk: str, figures: Path) -> None:
    """Relay, edge client and SDK; all files are left in the folder."""
    await converse(sdk, figures)
