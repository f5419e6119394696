"""How the child chooses an output, determines how to open it, and opens it: each time from the beginning."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_client.audio.cards import CardFiles
from edge_client.audio.outputs import AVATAR_OUT, DEFAULT, Candidate, Conversion, OutputDevice, alsa_configuration, candidates, outputs
from edge_client.audio.speaker import portaudio
from edge_client.audio.speaker.alsa import Abilities, Alsa, FormatError, quiet_standard_error
from edge_client.audio.speaker.channel import DeviceOpened, Settings
from edge_client.audio.speaker.memory import MAX_PERIOD_US
from edge_client.errors import SinkError

SERVER_BUFFER_US = 20_000
"""Minimum behind PulseAudio or PipeWire. They ask for sound less punctually than a card, and PipeWire does not report its underruns."""


@dataclass(frozen=True, slots=True)
class Found:
    """An output that can be opened as `AVATAR_OUT`."""

    candidate: Candidate
    abilities: Abilities
    conversion: Conversion
    why: str
    """Why no better one was chosen; empty if this is the best."""


def list_outputs(alsa: Alsa) -> list[OutputDevice]:
    """All outputs. Nothing is opened. Raises `SinkError`."""
    return outputs(CardFiles().cards(), alsa.names())


def find_output(alsa: Alsa, settings: Settings) -> Found:
    """The first way that works to play through the selected output. Raises `SinkError` with the reasons of all."""
    wanted, reasons = settings.device, list[str]()
    ways = candidates("", []) if not wanted else candidates(wanted, list_outputs(alsa))
    while ways:
        way = ways.pop(0)
        try:
            conversion, abilities = _settle(alsa, way.pcm, settings)
        except SinkError as error:
            reasons.append(f"{way.pcm}: {error}")
        else:
            return Found(_known(way, abilities), abilities, conversion, "; ".join(reasons))
        if not wanted and way.pcm == DEFAULT:
            ways = candidates("", list_outputs(alsa))[1:]
    raise SinkError("no sound: " + "; ".join(reasons))


def _settle(alsa: Alsa, pcm: str, settings: Settings) -> tuple[Conversion, Abilities]:
    """The least conversion with which an output plays. Raises `SinkError`."""
    for conversion in Conversion:
        alsa.add_configuration(alsa_configuration(pcm, conversion))
        with contextlib.suppress(FormatError), quiet_standard_error():
            return conversion, alsa.ask(AVATAR_OUT, settings.rate_hz, (1, 2) if settings.side == "both" else (2,))
    raise SinkError(f"it takes no samples that 16 bits in 1 or 2 channels convert to, but {', '.join(alsa.formats(pcm)) or 'none at all'}")


def _known(way: Candidate, abilities: Abilities) -> Candidate:
    """The candidate with the key of its card: the default output is identified by the card behind it, if there is one."""
    if way.pcm != DEFAULT or abilities.card < 0:
        return way
    card = next((card for card in CardFiles().cards() if card.number == abilities.card), None)
    return Candidate(way.pcm, card.path or card.id) if card else way


def open_output(settings: Settings, found: Found, make_render: Callable[[int], portaudio.Render]) -> tuple[Any, Any, DeviceOpened]:
    """PortAudio, its running stream, and the report to send. `make_render(rate_hz)` returns the renderer at the output's rate.

    Raises `SinkError`. May hang, or abort the process.
    """
    abilities, rate_hz = found.abilities, found.abilities.rate_hz
    least_us = SERVER_BUFFER_US if abilities.through_server else 0
    learned = settings.learned.get(found.candidate.key, 0)
    buffer_frames = max(settings.buffer_frames, learned, settings.rate_hz * least_us // 1_000_000)
    period_us = round(max(abilities.period_frames / rate_hz, buffer_frames / settings.rate_hz) * 1e6)
    if period_us > MAX_PERIOD_US:
        longest_s = MAX_PERIOD_US / 1e6
        raise SinkError(f"{found.candidate.pcm} takes {period_us / 1e6:.2f} s of sound at once, which is more than {longest_s:g} s")
    library = portaudio.initialize()
    stream = portaudio.open_output(
        library,
        AVATAR_OUT,
        rate_hz=rate_hz,
        channels=abilities.channels,
        side=settings.side,
        buffer_frames=max(1, round(buffer_frames * rate_hz / settings.rate_hz)),
        render=make_render(rate_hz),
    )
    told = DeviceOpened(
        device=found.candidate.pcm + (" (IEC958)" if found.conversion is Conversion.IEC958 else ""),
        key=found.candidate.key,
        rate_hz=rate_hz,
        channels=abilities.channels,
        buffer_frames=buffer_frames,
        period_us=period_us,
        why=found.why,
    )
    return library, stream, told
