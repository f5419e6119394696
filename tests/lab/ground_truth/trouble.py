"""Faults with real sound: a sound device that is lost and returns, and a link that becomes too narrow."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import opuslib_next

from avatar_relay import weights
from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat, Pacing
from avatar_relay.messages import ConversationError, Dropped, PlayerEvent, Stalled
from avatar_relay.publisher import AvatarEvent
from edge_client.audio.decoders.opus import OpusPacketDecoder
from relay_server.sources.source import AudioChunk, MotionChunk, Performance
from tests.lab.fault_proxy import Weather
from tests.lab.ground_truth import heard
from tests.lab.ground_truth.heard import Pcm
from tests.lab.ground_truth.scenarios import GAP_FRAMES, Report, after_gap, counted, setup_told, sound_told
from tests.lab.ground_truth.speech import CHUNK_FRAMES, RATE_HZ, Material, findable, perform
from tests.lab.ground_truth.station import Setup, findings, station

AWAY_S = 4.0
NARROW = Weather(bytes_per_s=8_000)
"""64 kbit/s."""
OPUS_BITS_PER_S = 24_000
KEYFRAMES_PER_S = 30.0
"""Rate of ARKit's 52 weights as 4-byte numbers: 50 kbit/s."""
MOTION = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, KEYFRAMES_PER_S, ARKIT_NAMES)
NARROW_PATIENCE = 16.0
"""Time limit of a conversation as a multiple of its length."""


async def unplugged(folder: Path, setup: Setup, material: Material) -> Report:
    """Unplug the sound device in mid-word and plug it in later; measure when the sound resumes, and at what position."""
    sound = findable(material, 8.0, setup.seed)
    load = os.getloadavg()[0]
    async with station(folder, setup) as stand:
        speaking = asyncio.create_task(stand.speak(perform(material, sound, Pacing.BURST), 8.0 + AWAY_S))
        await asyncio.sleep(3.0)
        stand.device.unplug()
        await asyncio.sleep(AWAY_S)
        stand.device.plug_in()
        back_us = time.monotonic_ns() / 1e3
        finished = await speaking
        device, told = stand.device, stand.told
    left = findings(folder, device, setup.ppm)
    found = heard.find(left.emitted, sound)
    return {
        "setup": {"away_ms": round(AWAY_S * 1e3), **setup_told(setup)},
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
        "sound": sound_told(found, left),
        "finished": finished.reason,
        "publisher_told": tally(told),
        **after_gap(found.runs, left, [sound], back_us),
    }


async def narrow(folder: Path, setup: Setup, material: Material, codec: Codec, pacing: Pacing, seconds: float) -> Report:
    """Limit the device's link to 64 kbit/s after a quarter of the conversation (`BURST`: from the first payload)."""
    spoken = findable(material, seconds, setup.seed)
    packets = _opus(spoken) if codec is Codec.OPUS else _pcm(spoken)
    sent = _decoded(packets) if codec is Codec.OPUS else spoken
    load = os.getloadavg()[0]
    async with station(folder, setup) as stand:
        if pacing is Pacing.BURST:
            stand.proxy.down = NARROW
        performance = Performance(AudioFormat(codec, RATE_HZ), MOTION, pacing, _items(packets, pacing, setup.seed))
        speaking = asyncio.create_task(stand.speak(performance, NARROW_PATIENCE * seconds))
        await asyncio.sleep(seconds / 4)
        stand.proxy.down = NARROW
        finished = await speaking
        device, told = stand.device, stand.told
    left = findings(folder, device, setup.ppm)
    followed = heard.follow(left.emitted, sent)
    silences = np.diff(heard.stretches(left.emitted, GAP_FRAMES), axis=0)
    return {
        "setup": {
            "codec": codec.value,
            "pacing": pacing.value,
            "seconds": seconds,
            "media_bytes_per_s": _rate(packets),
            **setup_told(setup),
        },
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
        "sound": {
            "whole": codec is Codec.OPUS and heard.find(left.emitted, sent).is_whole,
            "heard_seconds": round(sum(run.frames for run in followed.runs) / RATE_HZ, 2),
            "skipped_ms": round(followed.skipped_frames / RATE_HZ * 1e3, 2),
            "repeated_ms": round(followed.repeated_frames / RATE_HZ * 1e3, 2),
            "unknown_blocks": followed.unknown_blocks,
            "gaps": len(silences),
            **counted(left),
        },
        "keyframes_came_of": [left.figures["keyframes_received"], round(seconds * KEYFRAMES_PER_S)],
        "finished": finished.reason,
        "publisher_told": tally(told),
    }


def tally(told: Sequence[AvatarEvent]) -> dict[str, int]:
    """Count the publisher's events by kind; for drops, the payloads."""
    counts: Counter[str] = Counter()
    for event in told:
        match event:
            case ConversationError(fault=fault):
                counts[fault.reason.value] += 1
            case PlayerEvent(body=Stalled(begins, kind)):
                counts[f"{kind.value} {'stalls' if begins else 'goes on'}"] += 1
            case PlayerEvent(body=Dropped() as dropped):
                counts[f"{dropped.kind.value} dropped: {dropped.reason}"] += dropped.payloads
    return dict(counts)


def _opus(sound: Pcm) -> list[bytes]:
    encoder = opuslib_next.Encoder(RATE_HZ, 1, opuslib_next.APPLICATION_VOIP)
    encoder.bitrate = OPUS_BITS_PER_S
    return [encoder.encode(chunk, CHUNK_FRAMES) for chunk in _pcm(sound)]


def _pcm(sound: Pcm) -> list[bytes]:
    return [sound[start : start + CHUNK_FRAMES].tobytes() for start in range(0, len(sound) - CHUNK_FRAMES + 1, CHUNK_FRAMES)]


def _decoded(packets: Sequence[bytes]) -> Pcm:
    decoder = OpusPacketDecoder()
    decoded: Pcm = np.concatenate([decoder.decode(packet) for packet in packets])
    return decoded


async def _items(packets: Sequence[bytes], pacing: Pacing, seed: int) -> AsyncIterator[AudioChunk | MotionChunk]:
    """Yield sound in 20 ms chunks, and motion with randomly drifting weights, one keyframe per payload."""
    chance = np.random.default_rng(seed)
    began = time.monotonic()
    pose = np.zeros((1, len(ARKIT_NAMES)), np.float32)
    keyframes = 0
    for number, packet in enumerate(packets):
        if pacing is Pacing.LIVE:
            await asyncio.sleep(max(0.0, began + number * CHUNK_FRAMES / RATE_HZ - time.monotonic()))
        while keyframes / KEYFRAMES_PER_S <= number * CHUNK_FRAMES / RATE_HZ:
            pose = np.clip(pose + chance.normal(0, 0.1, pose.shape), 0, 1).astype(np.float32)
            keyframes += 1
            yield MotionChunk(weights.write(pose))
        yield AudioChunk(packet)


def _rate(packets: Sequence[bytes]) -> dict[str, int]:
    audio = sum(map(len, packets)) / len(packets) * RATE_HZ / CHUNK_FRAMES
    return {"audio": round(audio), "motion": round(4 * len(ARKIT_NAMES) * KEYFRAMES_PER_S)}
