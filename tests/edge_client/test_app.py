"""The whole program as a separate process, against a relay that follows a script."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from avatar_relay import messages as m
from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Credit, Kind, MotionEncoding, MotionFormat, Payload
from avatar_relay.reasons import Fault, Reason
from edge_client.config import device_name
from tests.edge_client.link.scripted_relay import Relay, Script, Stream, serving, stay, stay_on, until
from tests.lab.data import PROJECT_ROOT
from tests.lab.sound_card.paced_card import PacedDevice, deep_paced_device, paced_library

__all__ = ["deep_paced_device", "paced_library"]  # fixtures

RATE_HZ = 16_000
TONE = (8_000 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ * 6 // 10) / RATE_HZ)).astype("<i2")
KEYFRAMES = 15
PROBE = (
    "import sys; from edge_client.cli import main; status = main(sys.argv[1:]); "
    "print('loaded', *sorted({'pygame', 'OpenGL', 'PIL', 'pyaudio'} & set(sys.modules))); sys.exit(status)"
)
START_S = 30.0
"""The time the program may need to attach on a busy machine."""


DYING_SINK = (
    "import edge_client.audio.sinks.virtual as virtual\n"
    "def step(*_): raise ZeroDivisionError('injected')\n"
    "virtual.VirtualDevice.step = step\n"
)


def speech(conversation_id: str) -> list[m.ToDevice]:
    """0.6 s of tone and an opening mouth: all the relay's messages of a conversation."""
    weights = np.zeros((KEYFRAMES, len(ARKIT_NAMES)), "<f4")
    weights[:, ARKIT_NAMES.index("jawOpen")] = np.linspace(0, 1, KEYFRAMES)
    motion = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 25.0, ARKIT_NAMES)
    payloads = (
        Payload(Kind.AUDIO, 1, TONE.tobytes(), 0, 600_000),
        Payload(Kind.MOTION, 1, weights.tobytes(), 0, KEYFRAMES * 40_000),
    )
    return [
        ConversationOpen(conversation_id, AudioFormat(Codec.PCM_S16LE, RATE_HZ), motion),
        m.Media(conversation_id, payloads),
        m.ConversationEnd(conversation_id, 1, 1),
    ]


async def speak(stream: Stream) -> None:
    """Send one conversation and acknowledge events until the device disconnects."""
    await stream.welcome()
    for message in speech("c-1"):
        await stream.say(message)
    while (heard := await stream.hear()) is not None:
        if isinstance(heard, m.PlayerEvent):
            await stream.say(m.EventAck(heard.event_id))


async def speak_without_end(stream: Stream) -> None:
    """A conversation that is still open when the device disconnects."""
    await stream.welcome()
    for message in speech("c-1")[:-1]:
        await stream.say(message)
    while await stream.hear() is not None:
        pass


class Client:
    """The running program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ended(self) -> tuple[int, str, str]:
        """Wait for its end; returns exit status, output and log."""
        async with asyncio.timeout(20):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, out.decode(), err.decode()


@contextlib.asynccontextmanager
async def running(script: Script, *arguments: str, fault: str = "") -> AsyncIterator[tuple[Relay, Client]]:
    """A relay and a client configured to attach to it; `fault` is run in the client first."""
    relay = Relay(script)
    async with serving(relay) as (_, port):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("EDGE_CLIENT_", "OTEL_"))}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", fault + PROBE, "--relay", f"127.0.0.1:{port}", "--device-id", "kitchen", "--headless", *arguments),
            cwd=PROJECT_ROOT,
            env=environment | {"PYTHONPATH": "proto"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield relay, Client(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_a_conversation_is_played_shown_recorded_and_told(tmp_path: Path) -> None:
    """From open to finished: sound, pictures and figures are recorded, and `goodbye` is sent at the end."""
    arguments = ("--renderer", "flat", "--size", "320x240", "--record", str(tmp_path), "--exit-after-finished", "1")
    async with running(speak, *arguments) as (relay, client):
        status, _, log = await client.ended()
        assert status == 0, log
        heard = relay.streams[0].heard
    bodies = [message.body for message in heard if isinstance(message, m.PlayerEvent)]
    assert isinstance(bodies[0], m.Started)
    (finished,) = (body for body in bodies if isinstance(body, m.Finished))
    assert (finished.position_us, finished.interrupted, finished.reason) == (600_000, False, "completed")
    credit = [message for message in heard if isinstance(message, Credit)]
    assert sum(grant.audio_bytes for grant in credit) == TONE.nbytes
    assert sum(grant.motion_bytes for grant in credit) == KEYFRAMES * 52 * 4
    assert [message for message in heard if not isinstance(message, m.Ping)][-1] == m.Goodbye("shutdown")
    check_recording(tmp_path)


def check_recording(folder: Path) -> None:
    """The recorded files of the conversation above."""
    assert {path.name for path in folder.iterdir()} == {"played.wav", "face.gif", "contact-sheet.png", "skew.png", "edge-summary.json"}
    with wave.open(str(folder / "played.wav")) as sound:
        played = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
        assert sound.getframerate() == 48_000
    assert 28_600 <= np.ptp(np.flatnonzero(np.abs(played) > 200)) <= 28_800
    summary = json.loads((folder / "edge-summary.json").read_text())
    assert summary["conversation_id"] == "c-1"
    assert summary["keyframes_received"] == KEYFRAMES
    assert summary["audio_seconds_played"] == pytest.approx(0.6, abs=0.001)
    assert summary["playback_finished"] == {"position_ms": 600.0, "interrupted": False, "reason": "completed"}
    assert summary["skew_ms"]["count"] > 5
    assert abs(summary["skew_ms"]["p50"]) < 40


async def test_the_same_is_heard_behind_alsa(deep_paced_device: PacedDevice) -> None:
    """Real PyAudio, real ALSA, and the output of the device's converter: the tone, sample for sample."""
    tone = np.round(8_000 * np.sin(2 * np.pi * 440 * (np.arange(24_000) + 0.5) / 48_000)).astype("<i2")

    async def speak_at_device_rate(stream: Stream) -> None:
        await stream.welcome()
        await stream.say(ConversationOpen("c-1", AudioFormat(Codec.PCM_S16LE, 48_000)))
        await stream.say(m.Media("c-1", (Payload(Kind.AUDIO, 1, tone.tobytes(), 0, 500_000),)))
        await stream.say(m.ConversationEnd("c-1", 1, 0))
        await stay_on(stream)

    arguments = ("--audio-device", "paced", "--renderer", "none", "--exit-after-finished", "1")
    async with running(speak_at_device_rate, *arguments) as (_, client):
        status, _, log = await client.ended()
        assert status == 0, log
    assert np.array_equal(deep_paced_device.heard_between_first_and_last_sound(), tone)


async def test_without_a_face_nothing_of_it_is_loaded() -> None:
    """`--renderer none`: the same conversation with neither pygame nor Pillow imported."""
    async with running(speak, "--renderer", "none", "--exit-after-finished", "1") as (relay, client):
        status, out, log = await client.ended()
        assert status == 0, log
        assert out == "loaded\n"
        assert "no face is drawn, as configured" in log
        assert any(isinstance(message, m.PlayerEvent) and isinstance(message.body, m.Finished) for message in relay.streams[0].heard)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    """During a conversation that is resampled: status 0, `goodbye` sent, no traceback, no complaint of a library."""
    async with running(speak_without_end, "--renderer", "none") as (relay, client):
        await until(lambda: bool(relay.streams) and any(isinstance(x, m.PlayerEvent) for x in relay.streams[0].heard))
        await until(lambda: len(relay.streams[0].heard) > 1)
        client.process.send_signal(number)
        status, _, log = await client.ended()
        assert (status, "Traceback" in log, "leaked" in log) == (0, False, False), log
        assert relay.streams[0].heard[-1] == m.Goodbye("shutdown")


async def test_thread_that_dies_ends_the_program() -> None:
    """An unexpected error in the sink's thread: logged with the thread's name, `goodbye` sent, status 1."""
    async with running(stay, "--renderer", "none", fault=DYING_SINK) as (_, client):
        status, _, log = await client.ended()
        assert status == 1, log
        assert "a thread ended unexpectedly; exiting: virtual-sink" in log
        assert "ZeroDivisionError: injected" in log


async def test_a_final_refusal_is_told_and_fails() -> None:
    """Status 1 and the relay's error text."""

    async def refuse(stream: Stream) -> None:
        await stream.hear()
        await stream.refuse(Fault(Reason.PROTOCOL_VERSION_UNSUPPORTED, "version 1 is no longer spoken here"))

    async with running(refuse, "--renderer", "none") as (_, client):
        status, _, log = await client.ended()
        assert status == 1
        assert "the relay refused this device" in log
        assert "version 1 is no longer spoken here" in log
        assert "Traceback" not in log


async def test_a_sound_device_that_is_not_there_is_waited_for() -> None:
    """A missing card chosen by name: one log line, a fault reported for the conversation, and the program continues."""
    async with running(speak, "--renderer", "none", "--audio-device", "no such thing") as (relay, client):
        await until(lambda: bool(relay.streams), START_S)
        await until(lambda: any(isinstance(x, m.ConversationError) for x in relay.streams[0].heard))
        (fault,) = [x.fault for x in relay.streams[0].heard if isinstance(x, m.ConversationError)]
        assert fault.reason is Reason.AUDIO_DEVICE_FAILED
        assert "'no such thing' is not an output" in fault.text
        client.process.send_signal(signal.SIGTERM)
        status, _, log = await client.ended()
        assert (status, "Traceback" in log, log.count("the speaker process is failing")) == (0, False, 1), log


async def test_a_second_signal_ends_it_at_once() -> None:
    """A relay that never acknowledges delays the end by a second; a second signal ends the program at once."""

    async def deaf(stream: Stream) -> None:
        await stream.welcome()
        for message in speech("c-1"):
            await stream.say(message)
        await stay_on(stream)

    async with running(deaf, "--renderer", "none") as (relay, client):
        await until(lambda: bool(relay.streams), START_S)
        await until(lambda: any(isinstance(x, m.PlayerEvent) for x in relay.streams[0].heard))
        client.process.send_signal(signal.SIGTERM)
        await until(lambda: any(isinstance(x, m.Goodbye) for x in relay.streams[0].heard))
        client.process.send_signal(signal.SIGTERM)
        assert (await client.ended())[0] == -signal.SIGTERM


def test_device_name_from_the_machine() -> None:
    """Characters not allowed in a name are replaced; the configured name has precedence."""
    assert device_name("kitchen", "host") == "kitchen"
    assert device_name("", "pi 4/öl") == "pi-4--l"
    assert device_name("", "x" * 99) == "x" * 64
    assert device_name("", "") == "edge-client"
