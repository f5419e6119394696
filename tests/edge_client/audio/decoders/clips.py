"""Sound for the decoders' tests: synthetic, encoded and decoded by opus-tools."""

from __future__ import annotations

import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from edge_client.audio.sink import Pcm


def tones(seconds: float, *, rate_hz: int = 48_000, amplitude: float = 9_000.0) -> Pcm:
    """A gliding, voice-like tone with overtones."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * (180 * time + 40 * np.sin(2 * np.pi * 1.5 * time))
    signal = np.sin(phase) + 0.5 * np.sin(3 * phase) + 0.25 * np.sin(7 * phase)
    samples: Pcm = np.clip(np.rint(amplitude * signal / 1.75), -32768, 32767).astype(np.int16)
    return samples


def need_opus_tools() -> None:
    """Skip if opusenc and opusdec are not installed."""
    for tool in ("opusenc", "opusdec"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed: apt-get install opus-tools")


def write_wav(path: Path, samples: Pcm, *, channels: int = 1) -> None:
    """48 kHz, 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(samples.tobytes())


def encode(folder: Path, samples: Pcm, *options: str, channels: int = 1) -> bytes:
    """An Ogg Opus stream by opusenc."""
    write_wav(folder / "in.wav", samples, channels=channels)
    command = ["opusenc", "--quiet", *options, str(folder / "in.wav"), str(folder / "out.opus")]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return (folder / "out.opus").read_bytes()


def reference(folder: Path, stream: bytes) -> Pcm:
    """A stream as decoded by opusdec at 48 kHz."""
    (folder / "ref.opus").write_bytes(stream)
    command = ["opusdec", "--quiet", "--no-dither", "--rate", "48000", str(folder / "ref.opus"), str(folder / "ref.wav")]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    with wave.open(str(folder / "ref.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)
