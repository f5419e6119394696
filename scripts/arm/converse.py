"""A whole conversation with an edge client on the emulated aarch64: relay and backend run natively, its sound goes to a file.

Emulation is slow, so gaps are no fault here. What counts: all of the sound, sample for sample, motion, and one clean end.
"""

from __future__ import annotations

import asyncio
import json
import sys
import wave
from pathlib import Path

import numpy as np

from avatar_relay.reasons import FinishReason
from avatar_relay.tracing import telemetry_off
from edge_client.audio.sink import Pcm
from relay_server.sources.local.source import LocalSource
from relay_server.sources.source import FileSpeech
from tests.lab.backend import CLIP, Published, Script, speak
from tests.lab.programs import attached, python, running, while_running

DEVICE_ID = "arm"
START_S = 120.0
CLIENT = """
import sys
sys.executable = {arm_python!r}  # the processes that it starts are emulated, too
from edge_client.cli import main
sys.exit(main())
"""


def tell(text: str) -> None:
    """Print a progress message."""
    print(f"  {text}", flush=True)


async def conversation(address: str) -> Published:
    """Run the backend: publish one conversation."""
    async with asyncio.timeout(START_S):
        await attached(address, DEVICE_ID)
    script = Script(LocalSource(), FileSpeech(CLIP), CLIP.name)
    return await speak(address, DEVICE_ID, script, seconds=None, telemetry=telemetry_off(), say=tell)


async def converse(arm_python: str, out: Path, rate_hz: int) -> Published:
    """Run a native relay and an emulated edge client for one conversation."""
    relay_command = [*python("relay_server"), "--listen", "127.0.0.1:0", "--log-level", "info", "--drain-grace-ms", "1000"]
    async with running("relay-server", relay_command, out / "relay.log", {}) as relay:
        address = (await relay.wait_for(r"listening on (\S+)", START_S))[1]
        command = [arm_python, "-c", CLIENT.format(arm_python=arm_python), "--relay", address, "--device-id", DEVICE_ID, "--headless"]
        command += ["--audio-sink", "wav", "--rate-hz", str(rate_hz), "--renderer", "flat", "--size", "320x192"]
        command += ["--pictures-per-second", "5", "--record", str(out), "--exit-after-finished", "1"]
        async with running("edge-client on aarch64", command, out / "edge.log", {}) as edge:
            await edge.wait_for(r"The face is drawn by (.+)", START_S)
            published = await while_running(conversation(address), relay, edge)
            await edge.wait(START_S)
    return published


def samples(path: Path) -> tuple[Pcm, int]:
    """The samples of a WAV file, and their rate."""
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate()


def compare(out: Path, sent: Pcm) -> str:
    """Compare the device's recording with the published sound. Emulation is slow, so silence may be inserted."""
    heard, _ = samples(out / "played.wav")
    if not np.array_equal(heard[heard != 0], sent[sent != 0]):
        raise SystemExit(f"{np.count_nonzero(heard)} samples were played of {np.count_nonzero(sent)}, or other ones")
    summary = json.loads((out / "edge-summary.json").read_text())
    poses, pictures = summary["keyframes_received"], summary["frames_shown"]
    if not poses or not pictures:
        raise SystemExit(f"the face did not move: {summary}")
    return f"{len(sent)} samples, all of them and in order; {poses} poses, {pictures} pictures"


def main(arm_python: str, folder: str) -> None:
    """Run it, and compare what was recorded with what was published."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    sent, rate_hz = samples(CLIP)
    published = asyncio.run(converse(arm_python, out, rate_hz))
    if published.reason != FinishReason.COMPLETED:
        raise SystemExit(f"the conversation ended otherwise: {published}")
    tell(compare(out, sent))


if __name__ == "__main__":
    main(*sys.argv[1:])
