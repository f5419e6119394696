"""`edge-client calibrate`: measures a sound card's delay beyond what its driver reports; a person compares clicks with the mouth.

A television or a wireless loudspeaker delays the sound, and no driver reports by how much. The mouth of the face snaps open with each
click, shifted until both coincide. The result is stored for the card, beside its required buffer (`sound.json` in the state folder), and
is used for that card unless the setting `output_offset_ms` is not 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.desk_settings import OUTPUT_OFFSET_MS
from avatar_relay.errors import ConfigError
from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat
from edge_client.audio.card_memory import FILE_NAME, CardMemory
from edge_client.audio.sink import Pcm
from edge_client.audio.sinks.pyaudio import PyAudioSink
from edge_client.audio.sound import start_sound
from edge_client.calibration.content import KEYFRAMES_PER_SECOND, RATE_HZ, clicks, mouth, read_typed
from edge_client.config import EdgeConfig
from edge_client.embedded import run_player
from edge_client.errors import SinkError
from edge_client.motion.mouth_source import MouthSource
from edge_client.player import Player, PlayerCallbacks

LONGEST_S = 900.0
"""Time after which an unanswered command ends."""
_OPEN_S = 15.0
"""Time limit for opening a card."""
_HELP = """\
Watch the mouth: it snaps open with each click. Type, with Enter behind it:
  +20  or  -20   the mouth comes so many ms later, or earlier
  140            the mouth comes 140 ms later than the driver says that the click is heard
  (only Enter)   they come together: keep this
  q              leave, and keep nothing"""


@dataclass(frozen=True, slots=True)
class CalibratedCard:
    """The card that plays: the key under which it is stored, its name, and its current offset."""

    key: str
    name: str
    offset_ms: float


def calibrate(config: EdgeConfig, folder: Path | None, *, given_ms: float | None) -> str:
    """Have a person find the offset, or use the one given, and store it for the card that plays; returns what was done, in words.

    Blocks; call it on the main thread. Raises `ConfigError` and `SinkError`.
    """
    if folder is None:
        raise ConfigError("XDG_STATE_HOME: there is no folder for state; name one")
    if given_ms is None and config.renderer == "none":
        raise ConfigError("renderer: none leaves no mouth to look at; leave it out, or give the offset with --set MS")
    if given_ms is not None and not OUTPUT_OFFSET_MS[0] <= given_ms <= OUTPUT_OFFSET_MS[1]:
        raise ConfigError(f"--set: {given_ms:g} is not from {OUTPUT_OFFSET_MS[0]} to {OUTPUT_OFFSET_MS[1]} ms")
    card = _card(config, folder)
    found_ms = given_ms
    if found_ms is None:
        print(f"{card.name}: {card.offset_ms:+g} ms so far\n{_HELP}", flush=True)
        found_ms = _ask(config, card)
        if found_ms is None:
            return "nothing was kept"
    memory = CardMemory(folder)
    memory.calibrate(card.key, round(found_ms * 1_000))
    if not memory.close():
        raise SinkError(f"{folder / FILE_NAME} cannot be written")
    counts = "it counts from the next start on"
    if config.output_offset_ms:
        counts = f"the setting output_offset_ms = {config.output_offset_ms:g} counts instead: take it out"
    return f"kept {found_ms:+g} ms for {card.key}; {counts}"


def kept(folder: Path | None) -> list[str]:
    """A line for each card whose offset is known."""
    return [f"{key}: {offset_us / 1_000:+g} ms" for key, offset_us in CardMemory(folder).offsets_us.items()]


class _Silence:
    def pull(self, frames: int) -> Pcm:
        """See `AudioFeed`."""
        return np.zeros(frames, np.int16)


def _card(config: EdgeConfig, folder: Path) -> CalibratedCard:
    """Open the card of the settings to identify it."""
    sink, _ = start_sound(config, lambda _: _Silence(), None)
    try:
        if not isinstance(sink, PyAudioSink):
            raise SinkError("the settings ask for no sound card: audio_sink, headless")
        until_s = time.monotonic() + _OPEN_S
        while not sink.card_key:
            counters = sink.counters()
            if counters.lost or counters.unheard or time.monotonic() > until_s:
                raise SinkError(counters.lost or counters.unheard or f"no card was opened within {_OPEN_S:g} s")
            time.sleep(0.02)
        known_us = CardMemory(folder).offsets_us.get(sink.card_key, 0)
        return CalibratedCard(sink.card_key, sink.name, config.output_offset_ms or known_us / 1_000)
    finally:
        sink.close()


def _ask(config: EdgeConfig, card: CalibratedCard) -> float | None:
    """The offset that a person finds; None if none is to be stored."""
    finished: asyncio.Queue[str] = asyncio.Queue()

    async def application(player: Player) -> float | None:
        lines: asyncio.Queue[str | None] = asyncio.Queue()
        _begin_reading(asyncio.get_running_loop(), lines)
        offset_ms = card.offset_ms
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_S):
                while True:
                    playing = asyncio.create_task(_play(player, offset_ms - card.offset_ms, finished))
                    typing = asyncio.create_task(lines.get())
                    try:
                        await asyncio.wait({playing, typing}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        player.interrupt()
                        for task in (playing, typing):
                            task.cancel()
                    if playing.done():
                        playing.result()  # it has failed: it never returns
                    typed = read_typed(typing.result(), offset_ms)
                    if typed.keep or typed.leave:
                        return offset_ms if typed.keep else None
                    if typed.offset_ms is None:
                        print(f"takes offsets from {OUTPUT_OFFSET_MS[0]} to {OUTPUT_OFFSET_MS[1]} ms, Enter, or q", flush=True)
                    offset_ms = offset_ms if typed.offset_ms is None else typed.offset_ms
                    print(f"{offset_ms:+g} ms", flush=True)
        return None

    return run_player(
        application,
        replace(config, idle_life=False, mouth_source=MouthSource.PAYLOAD),
        audio_format=AudioFormat(Codec.PCM_S16LE, RATE_HZ),
        motion_format=MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, KEYFRAMES_PER_SECOND, ARKIT_NAMES),
        callbacks=PlayerCallbacks(on_finished=lambda conversation_id, _: finished.put_nowait(conversation_id)),
    )


async def _play(player: Player, shift_ms: float, finished: asyncio.Queue[str]) -> None:
    """Play clicks and mouth motion repeatedly."""
    while True:
        conversation_id = await player.yield_audio_data(clicks())
        await player.yield_frames_data([mouth(shift_ms)], conversation_id)
        await player.yield_audio_data(b"", end=True)
        while await finished.get() != conversation_id:
            pass


def _begin_reading(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[str | None]) -> None:
    """Read lines in a thread: a terminal may be silent forever, and the program must end nevertheless."""

    def read(source: Iterable[str]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            for line in source:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, args=(sys.stdin,), name="typed", daemon=True).start()
