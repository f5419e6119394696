"""Publishes from code without asyncio: several threads, such as those of a web server, share one publisher.

    python examples/blocking_caller.py speech.wav left right

Each device plays the file independently; one thread waits for each device.
"""

from __future__ import annotations

import argparse
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from avatar_relay.media import AudioFormat, Codec
from avatar_relay.publisher import PublisherError
from avatar_relay.publisher.blocking import BlockingPublisher


def speak(publisher: BlockingPublisher, device: str, audio_format: AudioFormat, samples: bytes, timeout_s: float) -> str:
    """Play the file on one device and return the outcome. Runs on any thread."""
    avatar = publisher.avatar(device, audio_format=audio_format)
    try:
        conversation_id = avatar.yield_audio_data(samples, end=True, timeout_s=timeout_s)
        finished = avatar.finished(conversation_id, timeout_s=timeout_s)
    except TimeoutError:
        avatar.interrupt()
        return f"{device}: not done after {timeout_s:g} s"
    except PublisherError as error:
        return f"{device}: {error}"
    return f"{device}: {finished.reason} after {finished.position_us / 1e6:.1f} s"


def main() -> None:
    """Open one publisher for the whole program, shared by all threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wav", type=Path)
    parser.add_argument("devices", nargs="+")
    parser.add_argument("--relay", default="127.0.0.1:52000", metavar="HOST:PORT")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS")
    options = parser.parse_args()
    with wave.open(str(options.wav), "rb") as file:
        audio_format = AudioFormat(Codec.PCM_S16LE, file.getframerate(), file.getnchannels())
        samples = file.readframes(file.getnframes())
    with BlockingPublisher.connect(options.relay) as publisher, ThreadPoolExecutor() as pool:
        for outcome in pool.map(lambda device: speak(publisher, device, audio_format, samples, options.timeout), options.devices):
            print(outcome)


if __name__ == "__main__":
    main()
