"""Each file is played correctly, or refused with its type named, identically in all three ways."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.media.cases import VOICE_AMPLITUDE, Case, all_cases, prepare, reference
from tests.media.hearing import Heard, House, house, on_device, signal_to_error_db

LEAST_DB = 60.0
ENCODERS = ("ffmpeg", "opusenc", "sox", "flac", "lame")


@pytest.mark.slow
@pytest.mark.timeout(1_200)
async def test_files_of_all_kinds(tmp_path: Path) -> None:
    """Prints a line for each file."""
    missing = [name for name in ENCODERS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: scripts/media installs them")
    prepare(tmp_path)
    cases, wrong = all_cases(), list[str]()
    for case in cases:
        case.make(tmp_path)
    async with house(tmp_path) as here:
        for case in cases:
            wrong += await check(here, case, tmp_path)
    sys.stdout.write(f"{len(cases)} files and streams, {len(wrong)} wrong\n")
    assert wrong == []
    assert len(cases) >= 60


async def check(here: House, case: Case, folder: Path) -> list[str]:
    """The faults of one file."""
    data = (folder / case.name).read_bytes()
    played = await here.play(case.name, case.rate_hz)
    ways = {"library": await here.publish(data, case.declared), "device": await asyncio.to_thread(on_device, data, case.declared)}
    wrong = [f"play: {text}" for text in against(played, case.frames, case, refusal="")]
    wrong += [f"{name}: {text}" for name, heard in ways.items() for text in against(heard, case.handed, case, refusal=case.refusal)]
    if case.handed is not None:
        wrong += [f"{name} {heard.line}, play {played.line}" for name, heard in ways.items() if heard.line != played.line]
    quality = ""
    wanted = await asyncio.to_thread(reference, folder / case.name) if case.has_reference else None
    if wanted is not None and case.frames is not None:
        nearest = min((signal_to_error_db(heard.samples, wanted) for heard in (played, *ways.values()) if heard.frames), default=0.0)
        quality = f"{nearest:.0f} dB, ffmpeg {len(wanted)} frames"
        wrong += [f"{nearest:.0f} dB to the reference"] if nearest < LEAST_DB else []
    elif "c51" in case.name or "_51" in case.name:
        level = 20 * np.log10(played.samples.astype(float).std() * np.sqrt(played.samples.size / played.frames) / VOICE_LEVEL)
        quality = f"the centre at {level:.1f} dB"
        wrong += [quality] if level < -3 else []
    handed = " ".join(f"{name}={heard.verdict}:{heard.frames}" for name, heard in ways.items())
    told = "; ".join(dict.fromkeys((*played.told, *ways["device"].told)))
    sys.stdout.write(f"{case.name:24} play={played.verdict}:{played.frames} {handed} {quality}{f' [{told}]' if told else ''}\n")
    return [f"{case.name}: {text}" for text in wrong]


def against(heard: Heard, frames: int | None, case: Case, *, refusal: str) -> list[str]:
    """Differences from the expected result."""
    if frames is None:
        right = heard.verdict == "refused" and refusal in " ".join(heard.told)
        return [] if right else [f"expected to be refused ({refusal}), was {heard.line}"]
    wrong = [] if (heard.verdict, heard.frames) == ("completed", frames) else [f"expected {frames} frames, was {heard.line}"]
    same = len(case.told) == len(heard.told) and all(words in text for words, text in zip(case.told, heard.told, strict=True))
    if not same:
        wrong.append(f"expected to be told {case.told}, was {heard.told}")
    return wrong


VOICE_LEVEL = float(np.sqrt((1 + 0.25 + 0.0625) / 2) / 1.75 * VOICE_AMPLITUDE)
"""RMS of the clip, which is three sines."""
