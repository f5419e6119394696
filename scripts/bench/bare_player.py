"""Peer `bare`: a player in the style of the grpc.aio and PyAudio tutorials, for comparison with ours.

    python -m scripts.bench.bare_player ADDRESS DEVICE

It reads one payload per message; sound is written to PyAudio by blocking writes on a thread, motion becomes rows of weights in a list.
It has no jitter buffer, clock, credit or reports, and leaves resampling to ALSA.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc.aio
import numpy as np
import pyaudio
from numpy.typing import NDArray

from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import device_service_pb2_grpc as device_rpc
from avatar_relay.v1 import media_pb2 as media_pb
from edge_client.audio.speaker.portaudio import initialize

RATE_HZ = 16_000
BUFFER_FRAMES = RATE_HZ // 100
KEPT_ROWS = 1_000


async def play(address: str, device: str) -> None:
    """Play until the server ends the stream."""
    audio = initialize()
    index = next(i for i in range(audio.get_device_count()) if audio.get_device_info_by_index(i)["name"] == device)
    stream = audio.open(
        rate=RATE_HZ, channels=1, format=pyaudio.paInt16, output=True, output_device_index=index, frames_per_buffer=BUFFER_FRAMES
    )
    rows: deque[NDArray[np.float32]] = deque(maxlen=KEPT_ROWS)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as speaker:
        async with grpc.aio.insecure_channel(address) as channel:
            call = device_rpc.DeviceServiceStub(channel).Attach(_hello())
            async for message in call:
                for payload in message.media.payloads:
                    if payload.kind == media_pb.KIND_AUDIO:
                        loop.run_in_executor(speaker, stream.write, payload.data)
                    else:
                        rows.append(np.frombuffer(payload.data, np.float32))


async def _hello() -> AsyncIterator[Any]:
    yield device_pb.AttachRequest(hello=device_pb.Hello(device_id="bare"))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(play(*sys.argv[1:]))
