"""A device without a relay: plays what the server of AvatarKit's Backend Mode demo sends, JSON and base64 over a WebSocket.

    python examples/own_transport.py ws://127.0.0.1:8000/ws/agent --ask "What is the weather like?"

Sound and face are those of edge-client, with its settings (EDGE_CLIENT_RENDERER=flat …). Requires `pip install websockets`.
"""

from __future__ import annotations

import argparse
import json
import os
from base64 import b64decode
from typing import Any

from websockets.asyncio.client import connect

from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat
from avatar_relay.messages import Finished
from edge_client.config import load_config
from edge_client.embedded import run_player
from edge_client.player import Player, PlayerCallbacks


class DemoClient:
    """Client of the demo server. Turns belong to the server, conversations to the player."""

    def __init__(self, url: str, question: str) -> None:
        self._url = url
        self._question = question
        self._conversations: dict[str, str] = {}

    async def run(self, player: Player) -> None:
        """Play until the server closes the connection."""
        async with connect(self._url, max_size=None) as socket:
            if self._question:
                await socket.send(json.dumps({"type": "text_query", "text": self._question}))
            async for message in socket:
                await self.handle(json.loads(message), player)

    async def handle(self, message: dict[str, Any], player: Player) -> None:
        """Handle one message. Motion for a turn without sound, or for an earlier turn, is dropped, as in AvatarKit."""
        match message:
            case {"type": "avatar_audio", "turnId": turn, "audio": audio, "isLast": is_last}:
                if audio or turn in self._conversations:
                    self._conversations[turn] = await player.yield_audio_data(b64decode(audio), end=is_last)
            case {"type": "avatar_frames", "turnId": turn, "frames": frames} if turn in self._conversations:
                await player.yield_frames_data([b64decode(frame) for frame in frames], self._conversations[turn])
            case {"type": "interrupt"}:
                player.interrupt()
            case {"type": "error", "message": text}:
                print(f"the server says: {text}")


def tell(conversation_id: str, finished: Finished) -> None:
    """Print the outcome of a finished conversation."""
    print(f"{conversation_id}: {finished.reason} after {finished.position_us / 1e6:.1f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--ask", default="", metavar="TEXT")
    parser.add_argument("--rate-hz", type=int, default=16_000, help="as the server is configured: the messages do not tell")
    options = parser.parse_args()
    client = DemoClient(options.url, options.ask)
    formats = AudioFormat(Codec.PCM_S16LE, options.rate_hz), MotionFormat(MotionEncoding.AVATARKIT_V2)
    config = load_config({}, os.environ, file=None)
    run_player(client.run, config, audio_format=formats[0], motion_format=formats[1], callbacks=PlayerCallbacks(on_finished=tell))
