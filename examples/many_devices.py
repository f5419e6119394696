"""Publishes one WAV file (mono, 16 bits) to many devices in one stream, and prints the outcome of each.

    python examples/many_devices.py speech.wav left right

The relay copies the media; a configured group counts as one name. A failing device does not delay the others.
"""

from __future__ import annotations

import argparse
import asyncio
import wave
from pathlib import Path

from avatar_relay.media import AudioFormat, Codec
from avatar_relay.publisher import ConversationFailedError, Publisher


async def publish(path: Path, devices: list[str], relay: str) -> None:
    """Publish the file once to all devices."""
    with wave.open(str(path), "rb") as file:
        audio_format = AudioFormat(Codec.PCM_S16LE, file.getframerate(), file.getnchannels())
        samples = file.readframes(file.getnframes())
    async with Publisher.connect(relay) as publisher:
        avatar = publisher.avatar(*devices, audio_format=audio_format)
        conversation_id = await avatar.yield_audio_data(samples, end=True)
        try:
            print("speaking on", ", ".join(await avatar.opened(conversation_id)))
            finished = await avatar.finished(conversation_id)
        except ConversationFailedError as error:
            raise SystemExit(f"nobody spoke: {error}") from None
        for device, outcome in sorted(finished.by_device.items()):
            print(f"{device}: {outcome.reason} after {outcome.position_us / 1e6:.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wav", type=Path)
    parser.add_argument("devices", nargs="+")
    parser.add_argument("--relay", default="127.0.0.1:52000", metavar="HOST:PORT")
    options = parser.parse_args()
    asyncio.run(publish(options.wav, options.devices, options.relay))
