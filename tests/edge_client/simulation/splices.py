"""Gaps and stalls in a sine and in speech, and the audible result at the joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar_relay.media import AudioFormat, Codec, Kind, Pacing, Payload
from avatar_relay.messages import ConversationEnd, Media
from edge_client.audio.resampler import Resampler
from edge_client.audio.sink import Pcm
from tests.edge_client.playback_bench import RATE_HZ, open_
from tests.edge_client.simulation.world import SoundCard, World

PAYLOAD_US = 20_000
FORMATS = {
    "PCM 48 kHz": AudioFormat(Codec.PCM_S16LE, 48_000),
    "PCM 24 kHz": AudioFormat(Codec.PCM_S16LE, 24_000),
    "Opus": AudioFormat(Codec.OPUS),
}


@dataclass(frozen=True, slots=True)
class SpliceFigures:
    """The result."""

    clip: str
    format: str
    joints: int
    """Payloads that were lost, and the stall."""
    largest_step_dbfs: float
    """The largest jump between two samples beyond the jumps beside it and those of the clean clip there; a click is one."""
    filled_share: float
    """Loudness during lost payloads, relative to that without loss (median)."""


def encode(clip: Pcm, format: AudioFormat) -> list[bytes]:
    """Payloads of 20 ms of a clip at 48 kHz."""
    frames = format.sample_rate_hz // 50
    if format.codec is Codec.OPUS:
        from opuslib_next import Encoder

        encoder = Encoder(RATE_HZ, 1, "audio")
        return [encoder.encode(clip[at : at + frames].tobytes(), frames) for at in range(0, len(clip) - frames + 1, frames)]
    resampler = Resampler(RATE_HZ, format.sample_rate_hz)
    pcm = clip if format.sample_rate_hz == RATE_HZ else np.concatenate((resampler.process(clip), resampler.flush()))
    return [pcm[at : at + frames].tobytes() for at in range(0, len(pcm) - frames + 1, frames)]


def play(payloads: list[bytes], format: AudioFormat, *, lost: frozenset[int] = frozenset(), stall: tuple[int, int] = (0, 0)) -> Pcm:
    """The output for payloads that arrive every 20 ms, without the lost ones, and with a stall of given start and length."""
    blocks: list[Pcm] = []
    world = World(SoundCard(blocks.append))
    world.arrive(0, open_("a", motion=None, pacing=Pacing.LIVE, audio=format))
    begin, length = stall
    for index, data in enumerate(payloads):
        time_us = index * PAYLOAD_US
        if index not in lost:
            arrival_us = begin + length if begin <= time_us < begin + length else time_us
            world.arrive(arrival_us, Media("a", (Payload(Kind.AUDIO, index + 1, data, time_us, PAYLOAD_US),)))
    end_us = len(payloads) * PAYLOAD_US
    world.arrive(end_us, ConversationEnd("a", len(payloads), 0))
    world.run(end_us + 6_500_000)
    return np.concatenate(blocks)


def largest_step(heard: Pcm, clean: Pcm) -> float:
    """The largest isolated jump, in dBFS, beyond those of the clip without gaps within 10 ms of the same place.

    Speech has jumps of its own, in its fricatives. The two are aligned as long as nothing was skipped in between."""
    count = min(len(heard), len(clean)) - 3
    block = RATE_HZ // 100
    blocks = _isolated(clean[: count // block * block + 3]).reshape(-1, block).max(axis=1)
    around = np.maximum(blocks, np.maximum(np.append(blocks[1:], 0), np.insert(blocks[:-1], 0, 0)))
    beyond = _isolated(heard[: count // block * block + 3]) - np.repeat(around, block)
    return round(float(20 * np.log10(max(float(beyond.max()), 1.0) / 32_768)), 1)


def _isolated(samples: Pcm) -> NDArray[np.int32]:
    jumps: NDArray[np.int32] = np.abs(np.diff(samples.astype(np.int32)))
    isolated: NDArray[np.int32] = np.maximum(jumps[1:-1] - np.maximum(jumps[:-2], jumps[2:]), 0)
    return isolated


def splice(name: str, clip: Pcm, format_name: str) -> SpliceFigures:
    """Lose every ninth payload and, in another run, stall the network for 300 ms in the middle."""
    format = FORMATS[format_name]
    payloads = encode(np.concatenate((clip, np.zeros(RATE_HZ // 10, np.int16))), format)
    lost = frozenset(range(12, len(payloads) - 4, 9))
    clean, lossy = play(payloads, format), play(payloads, format, lost=lost)
    stalled = play(payloads, format, stall=(len(payloads) // 2 * PAYLOAD_US, 300_000))
    shift = int(np.flatnonzero(stalled)[-1] - np.flatnonzero(clean)[-1])
    back = np.flatnonzero(stalled[: len(clean)] != clean)[0] + RATE_HZ // 4
    begin = int(np.flatnonzero(np.abs(clean) > 8)[0]) if format.codec is Codec.OPUS else int(np.flatnonzero(clean)[0])
    spans = [slice(begin + index * 960, begin + index * 960 + 960) for index in sorted(lost)]
    loud = [span for span in spans if np.std(clean[span]) > 300]
    shares = [float(np.std(lossy[span]) / np.std(clean[span])) for span in loud]
    return SpliceFigures(
        clip=name,
        format=format_name,
        joints=len(lost) + 1,
        largest_step_dbfs=max(
            largest_step(lossy, clean), largest_step(stalled[:back], clean), largest_step(stalled[back:], clean[back - shift :])
        ),
        filled_share=round(float(np.median(shares)), 2) if shares else 0.0,
    )


def sine(seconds: float = 3.0, hz: float = 443.0) -> Pcm:
    """Half of full scale, faded in and out."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    edge = np.clip(np.minimum(time, time[-1] - time) / 0.02, 0, 1)
    samples: Pcm = np.rint(16_384 * edge * np.sin(2 * np.pi * hz * time)).astype(np.int16)
    return samples
