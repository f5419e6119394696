"""Measurements from outside: lip-sync and completeness of the sound, latencies, a stalled network, a killed speaker."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from avatar_relay.media import Pacing
from avatar_relay.messages import ConversationError
from edge_client.face.picture_stamp import stamp_of
from tests.lab.face.read_stamp import stamped_pts_us
from tests.lab.ground_truth import heard, skew
from tests.lab.ground_truth.heard import Heard, Pcm, Run
from tests.lab.ground_truth.skew import Sounding
from tests.lab.ground_truth.speech import RATE_HZ, Material, findable, perform
from tests.lab.ground_truth.station import Findings, Setup, findings, station

GAP_FRAMES = RATE_HZ // 100
GAP_MS = 5.0
SYNC_MS = 10.0
"""Maximum skew at which sound and face count as in sync again after a fault."""
BACK_US = 500_000
"""Time after the return of the sound by which they must be in sync."""
Report = dict[str, Any]
"""Results of a scenario, printed as JSON."""


@dataclass(frozen=True, slots=True)
class Talk:
    """Speech to publish: `seconds`, in conversations of at most `conversation_seconds`."""

    seconds: float
    conversation_seconds: float
    pacing: Pacing = Pacing.BURST
    speed: float = 0.0
    """How fast a backend with `BURST` makes its media, in multiples of real time; 0: at once."""

    def lengths(self) -> list[float]:
        """The lengths of the conversations in seconds."""
        count = max(1, round(self.seconds / self.conversation_seconds))
        return [self.seconds / count] * count


def soundings(runs: Sequence[Run], sent: list[Pcm], left: Findings) -> list[Sounding]:
    """Map the runs to parts of conversations with clock times."""
    starts = np.concatenate([[0], np.cumsum([len(sound) for sound in sent])])
    pieces: list[Sounding] = []
    speed = left.clock.rate_hz / RATE_HZ
    for run in runs:
        at, end = run.sent_frame, run.sent_frame + run.frames
        while at < end:
            conversation = int(np.searchsorted(starts, at, side="right")) - 1
            upto = min(end, int(starts[conversation + 1]))
            time_us = left.clock.time_us(run.device_frame + at - run.sent_frame)
            pts_us = (at - int(starts[conversation])) * 1e6 / RATE_HZ
            pieces.append(Sounding(time_us, conversation, pts_us, (upto - at) * 1e6 / RATE_HZ, speed))
            at = upto
    return pieces


async def lip_sync(folder: Path, setup: Setup, material: Material, talk: Talk) -> Report:
    """Publish for a while; measure whether all of it was heard, and the skew between sound and face."""
    sent = [findable(material, seconds, setup.seed + number) for number, seconds in enumerate(talk.lengths())]
    load = os.getloadavg()[0]
    async with station(folder, setup) as stand:
        for sound in sent:
            await stand.speak(perform(material, sound, talk.pacing, talk.speed), len(sound) / RATE_HZ)
        device = stand.device
    left = findings(folder, device, setup.ppm)
    runs, told = _heard(left, np.concatenate(sent), talk.pacing)
    report: Report = {
        "setup": {
            "seconds": talk.seconds,
            "conversations": len(sent),
            "pacing": talk.pacing.value,
            "speech": material.name,
            **setup_told(setup),
        },
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
        "sound": told,
    }
    if left.watched is not None:
        report |= _face(soundings(runs, sent, left), left)
    return report


def setup_told(setup: Setup) -> Report:
    """The setup, for a report."""
    told = asdict(setup)
    return {
        name: told[name]
        for name in ("renderer", "pictures_per_second", "ppm", "busy_threads", "weather", "seed", "pulse", "publisher_tick_ms")
    }


def _heard(left: Findings, sent: Pcm, pacing: Pacing) -> tuple[Sequence[Run], Report]:
    """The runs heard, and a report on them. `LIVE` corrects drift by resampling, so its samples differ from those sent."""
    if pacing is Pacing.BURST:
        found = heard.find(left.emitted, sent)
        return found.runs, sound_told(found, left)
    followed = heard.follow(left.emitted, sent)
    return followed.runs, {
        "heard_seconds": round(sum(run.frames for run in followed.runs) / RATE_HZ, 3),
        "unknown_blocks": followed.unknown_blocks,
        "skipped_ms": round(followed.skipped_frames / RATE_HZ * 1e3, 2),
        "repeated_ms": round(followed.repeated_frames / RATE_HZ * 1e3, 2),
        "gaps": max(0, len(heard.stretches(left.emitted, GAP_FRAMES)) - 1),
        **counted(left),
    }


def sound_told(found: Heard, left: Findings) -> Report:
    """The sample-exact comparison and the counters, for a report."""
    return {
        "whole": found.is_whole,
        "runs": len(found.runs),
        "heard_seconds": round(sum(run.frames for run in found.runs) / RATE_HZ, 3),
        "lost_ms": round(found.lost_frames / RATE_HZ * 1e3, 2),
        "repeated_ms": round(found.repeated_frames / RATE_HZ * 1e3, 2),
        "foreign_frames": found.foreign_frames,
        "unheard_at_end_ms": round(found.unheard_at_end / RATE_HZ * 1e3, 2),
        **counted(left),
    }


def counted(left: Findings) -> Report:
    """The sound counters of device and client."""
    sink = left.figures["sink"]
    return {
        "device_xruns": left.device_xruns,
        "underruns": sink["underruns"],
        "silence_ms": round(sink["silence_frames"] / RATE_HZ * 1e3, 2),
        "restarts": sink["restarts"],
        "late_payloads": left.figures["late_payloads"],
    }


def _face(pieces: list[Sounding], left: Findings) -> Report:
    assert left.watched is not None
    shown = skew.shown_of(left.watched.pictures)
    truth = skew.measure(pieces, shown)
    seen = {time_us: value for time_us, value in zip(truth.picture_times_us.tolist(), truth.at_pictures_ms.tolist(), strict=True)}
    names: dict[str, int] = {}
    told = []
    for picture in left.told:
        conversation = names.setdefault(picture.conversation_id, len(names))
        pts_us = stamped_pts_us(stamp_of(picture.shown_us))
        assert pts_us is not None
        told.append((conversation, pts_us, (picture.heard_us - picture.shown_us) / 1e3))
    agreement = skew.agreement_ms([(picture, seen[picture.time_us]) for picture in shown if picture.time_us in seen], told)
    client = np.array([value for _, _, value in told])
    return {
        "screen": {
            "reads_per_second": round(left.watched.reads_per_second, 1),
            "pictures": sum(picture.conversation >= 0 for picture in shown),
            "damaged": left.watched.damaged,
            "picture_interval_ms": round(truth.picture_interval_ms, 2),
            "longest_hold_ms": round(truth.longest_hold_ms, 2),
        },
        "skew_at_pictures_ms": _figures(truth.at_pictures_ms),
        "skew_at_heard_ms": _figures(truth.at_heard_ms),
        "beyond_interval_ms": {
            name: round(getattr(skew.figures(truth.at_heard_ms), name) - truth.picture_interval_ms, 2) for name in ("p99", "p999", "max")
        },
        "client_at_pictures_ms": _figures(client),
        "client_clock_error_ms": _figures(_clock_error_ms(pieces, left, names)),
        "client_minus_truth_ms": _figures(agreement),
    }


def _clock_error_ms(pieces: list[Sounding], left: Findings, names: dict[str, int]) -> skew.Numbers:
    """PTS heard as reported by the client, minus the PTS that the device emitted at that time."""
    conversation, pts_us = skew.heard_at(pieces, np.array([picture.time_us for picture in left.told], float))
    same = conversation == np.array([names[picture.conversation_id] for picture in left.told])
    error_ms: skew.Numbers = (np.array([picture.heard_us for picture in left.told]) - pts_us)[same] / 1e3
    return error_ms


def _figures(values_ms: skew.Numbers) -> Report:
    return {name: round(value, 2) for name, value in asdict(skew.figures(values_ms)).items()}


async def latency(folder: Path, setup: Setup, material: Material, conversations: int) -> Report:
    """Publish and interrupt many short conversations; measure first payload to sound, and interrupt to silence."""
    setup = replace(setup, renderer="none")
    chance = random.Random(setup.seed)
    sound = findable(material, 5.0, setup.seed)
    load = os.getloadavg()[0]
    begun_us, interrupted_us = [], []
    async with station(folder, setup) as stand:
        for _ in range(conversations):
            rendition = stand.rendition(perform(material, sound, Pacing.BURST))
            begun_us.append(time.monotonic_ns() / 1e3)
            conversation_id = await rendition.begin()
            publishing = asyncio.create_task(rendition.finish())
            await asyncio.sleep(chance.uniform(0.4, 0.8))
            interrupted_us.append(time.monotonic_ns() / 1e3)
            rendition.avatar.interrupt()
            async with asyncio.timeout(10):
                await rendition.avatar.finished(conversation_id)
            await asyncio.gather(publishing, return_exceptions=True)
            await asyncio.sleep(chance.uniform(0.1, 0.2))
        device = stand.device
    left = findings(folder, device, setup.ppm)
    sounded = _sounded(left, begun_us)
    received_us = [conversation["first_payload_time_us"] for conversation in left.figures["conversations"]]
    if not sounded or len(received_us) != conversations:
        raise ValueError(f"{conversations} conversations were spoken, {len(received_us)} received, {len(sounded)} heard")
    return {
        "setup": {"conversations": conversations, **setup_told(setup)},
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
        "heard": len(sounded),
        "first_payload_to_sound_ms": _latencies(received_us, sounded, 0),
        "publisher_to_sound_ms": _latencies(begun_us, sounded, 0),
        "publisher_interrupt_to_silence_ms": _latencies(interrupted_us, sounded, 1),
        "device_xruns": left.device_xruns,
        "underruns": left.figures["sink"]["underruns"],
    }


def _sounded(left: Findings, begun_us: list[float]) -> dict[int, tuple[float, float]]:
    """Times of the first and the last emitted sample of each conversation heard, by its number."""
    times_us = [(left.clock.time_us(start), left.clock.time_us(end)) for start, end in heard.stretches(left.emitted, GAP_FRAMES)]
    sounded = {}
    for number, (begun, following) in enumerate(pairwise([*begun_us, float("inf")])):
        own = [(start, end) for start, end in times_us if begun <= start < following]
        if own:
            sounded[number] = (own[0][0], own[-1][1])
    return sounded


def _latencies(since_us: list[float], sounded: dict[int, tuple[float, float]], which: int) -> Report:
    return _figures(np.array([times[which] - since_us[number] for number, times in sounded.items()]) / 1e3)


async def stalled(folder: Path, setup: Setup, material: Material) -> Report:
    """Stall the network for a second in `LIVE`; measure the number of gaps, and when sound and face are back."""
    sound = findable(material, 12.0, setup.seed)
    load = os.getloadavg()[0]
    async with station(folder, setup) as stand:
        speaking = asyncio.create_task(stand.speak(perform(material, sound, Pacing.LIVE), 12.0))
        await asyncio.sleep(5.0)
        await stand.proxy.stall(1.0)
        free_us = time.monotonic_ns() / 1e3
        await speaking
        device = stand.device
    left = findings(folder, device, setup.ppm)
    runs, told = _heard(left, sound, Pacing.LIVE)
    return {
        "setup": {"stall_ms": 1_000, **setup_told(setup)},
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
        "sound": told,
        **after_gap(runs, left, [sound], free_us),
    }


async def killed(folder: Path, setup: Setup, material: Material) -> Report:
    """Kill the speaker process with SIGKILL in mid-word; measure when the sound is back, and its resume position."""
    sound = findable(material, 8.0, setup.seed)
    load = os.getloadavg()[0]
    async with station(folder, setup) as stand:
        speaking = asyncio.create_task(stand.speak(perform(material, sound, Pacing.BURST), 8.0))
        await asyncio.sleep(3.0)
        os.kill(stand.speaker_pid(), signal.SIGKILL)
        killed_us = time.monotonic_ns() / 1e3
        await speaking
        device, told = stand.device, stand.told
    left = findings(folder, device, setup.ppm)
    found = heard.find(left.emitted, sound)
    return {
        "setup": setup_told(setup),
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
        "sound": sound_told(found, left),
        "fault": left.figures["sink"]["last_fault"],
        "publisher_told": [event.fault.reason.value for event in told if isinstance(event, ConversationError)],
        **after_gap(found.runs, left, [sound], killed_us),
    }


def after_gap(runs: Sequence[Run], left: Findings, sent: list[Pcm], since_us: float) -> Report:
    """Measure the one long gap; `since_us` is the end of a stall, or the time of a kill."""
    pieces = soundings(runs, sent, left)
    gaps = [(later.time_us - earlier.end_us) / 1e3 for earlier, later in pairwise(pieces)]
    index = int(np.argmax(gaps)) if gaps else 0
    report: Report = {"gaps_ms": [round(gap, 1) for gap in gaps if gap > GAP_MS]}
    if not gaps:
        return report
    before, after = pieces[index], pieces[index + 1]
    report["sound_back_ms"] = round((after.time_us - since_us) / 1e3, 1)
    report["goes_on_after_ms"] = round((after.pts_us - before.pts_us - before.duration_us) / 1e3, 2)
    if left.watched is not None:
        truth = skew.measure(pieces, skew.shown_of(left.watched.pictures))
        again = (truth.picture_times_us >= after.time_us) & (np.abs(truth.at_pictures_ms) <= SYNC_MS)
        if again.any():
            report["skew_back_ms"] = round((float(truth.picture_times_us[again].min()) - after.time_us) / 1e3, 1)
        later = truth.picture_times_us >= after.time_us + BACK_US
        report["skew_at_pictures_after_ms"] = _figures(truth.at_pictures_ms[later])
    return report
