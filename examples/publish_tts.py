"""Publishes speech while a text-to-speech service generates it: playback begins before generation ends.

    python examples/publish_tts.py lobby "Good morning. How may I help you?"

`stream_tts` stands in for your service; here espeak-ng generates speech sentence by sentence.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import AsyncIterator

from avatar_relay.media import AudioFormat, Codec
from avatar_relay.messages import PlayerEvent, Started
from avatar_relay.publisher import AvatarEvent, Publisher
from relay_server.sources.espeak import Voice
from relay_server.sources.synthesiser import shared

RATE_HZ = 22_050
CHUNK_BYTES = 4_096


async def stream_tts(text: str) -> AsyncIterator[bytes]:
    """Yield chunks of mono 16-bit PCM at `RATE_HZ` as they are generated. Replace with the client of your service."""
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        spoken = await asyncio.to_thread(shared().speak, sentence, Voice("en-us"))
        samples = spoken.samples.tobytes()
        for start in range(0, len(samples), CHUNK_BYTES):
            yield samples[start : start + CHUNK_BYTES]


async def publish(text: str, device: str, relay: str) -> None:
    """Publish `text` once."""
    given_bytes = 0

    def listener(event: AvatarEvent) -> None:
        if isinstance(event, PlayerEvent) and isinstance(event.body, Started):
            print(f"{device} began to speak; {given_bytes} bytes were published by then")

    async with Publisher.connect(relay) as publisher:
        avatar = publisher.avatar(device, audio_format=AudioFormat(Codec.PCM_S16LE, RATE_HZ))
        avatar.subscribe(listener)
        async for chunk in stream_tts(text):
            conversation_id = await avatar.yield_audio_data(chunk)  # waits while the device's buffers are full
            given_bytes += len(chunk)
        await avatar.yield_audio_data(b"", end=True)
        finished = await avatar.finished(conversation_id)
        print(f"{device}: {finished.reason} after {finished.position_us / 1e6:.1f} s; {given_bytes} bytes were published")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device")
    parser.add_argument("text")
    parser.add_argument("--relay", default="127.0.0.1:52000", metavar="HOST:PORT")
    options = parser.parse_args()
    asyncio.run(publish(options.text, options.device, options.relay))
