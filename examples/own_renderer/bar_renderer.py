"""A custom renderer: draws the mouth as a bar in the terminal. The same approach drives LEDs or the jaw of a puppet.

pip install examples/own_renderer && edge-client --renderer bar     # with media from a relay
python examples/own_renderer/bar_renderer.py speech.wav             # in your own application
"""

from __future__ import annotations

import asyncio
import os
import sys
import wave

import numpy as np

from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.media import AudioFormat, Codec
from edge_client.config import EdgeConfig, load_config
from edge_client.embedded import run_player
from edge_client.face.overlay import NOTHING, Overlay
from edge_client.face.renderer import Picture, Wish
from edge_client.motion.pose import Pose
from edge_client.player import Player, PlayerCallbacks

JAW = ARKIT_NAMES.index("jawOpen")
WIDTH = 40


class BarRenderer:
    """A `Renderer`. All methods are called on the main thread; `draw` and `show` once per picture."""

    name = "a bar in the terminal"
    size = (WIDTH, 1)

    def __init__(self) -> None:
        self._open = 0.0

    def draw(self, pose: Pose, *, overlay: Overlay = NOTHING, stamp: int | None = None) -> None:
        """`pose` says how far everything is open or turned; `overlay` is what would be written over the face."""
        self._open = float(np.clip(pose[JAW], 0, 1))

    def show(self) -> None:
        """Present the drawn picture."""
        print("\r" + ("█" * round(WIDTH * self._open)).ljust(WIDTH), end="", flush=True)

    def read(self) -> Picture:
        """Return the picture as pixels, for recordings: height, width, RGB."""
        return np.full((1, WIDTH, 3), round(255 * self._open), np.uint8)

    def poll(self) -> Wish:
        """Return `Wish.NONE`: there is no window to close."""
        return Wish.NONE

    def close(self) -> None:
        """End the terminal line."""
        print(flush=True)


def open_renderer(config: EdgeConfig) -> BarRenderer:
    """The target of the entry point. Raises `ScreenError` if it cannot draw."""
    return BarRenderer()


if __name__ == "__main__":
    with wave.open(sys.argv[1], "rb") as file:
        audio_format, samples = AudioFormat(Codec.PCM_S16LE, file.getframerate()), file.readframes(file.getnframes())
    heard = asyncio.Event()
    callbacks = PlayerCallbacks(on_finished=lambda conversation_id, finished: heard.set())

    async def application(player: Player) -> None:
        await player.yield_audio_data(samples, end=True)
        await heard.wait()

    config = load_config({}, os.environ, file=None)
    run_player(application, config, audio_format=audio_format, callbacks=callbacks, open_renderer=open_renderer)
