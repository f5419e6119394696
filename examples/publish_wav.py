"""Publishes a WAV file (mono, 16 bits) to a device and waits until it is played. The device derives mouth motion from the sound.

python examples/publish_wav.py speech.wav lobby
"""

from __future__ import annotations

import argparse
import asyncio
import wave
from pathlib import Path

from avatar_relay.media import AudioFormat, Codec
from avatar_relay.publisher import Publisher


def read_wav(path: Path) -> tuple[int, bytes]:
    """Return the sample rate and samples of a file."""
    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise SystemExit(f"{path}: mono with 16 bits is needed; convert it by: sox {path} -c 1 -b 16 out.wav")
        return file.getframerate(), file.readframes(file.getnframes())


async def publish(path: Path, device: str, relay: str) -> None:
    """Publish the file once."""
    rate_hz, samples = read_wav(path)
    async with Publisher.connect(relay) as publisher:
        avatar = publisher.avatar(device, audio_format=AudioFormat(Codec.PCM_S16LE, rate_hz))
        conversation_id = await avatar.yield_audio_data(samples, end=True)
        finished = await avatar.finished(conversation_id)
        print(f"{device}: {finished.reason} after {finished.position_us / 1e6:.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wav", type=Path)
    parser.add_argument("device")
    parser.add_argument("--relay", default="127.0.0.1:52000", metavar="HOST:PORT")
    options = parser.parse_args()
    asyncio.run(publish(options.wav, options.device, options.relay))
