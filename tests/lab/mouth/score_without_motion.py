"""Scores how well the device's mouth matches speech without motion, in `BURST`, in `LIVE`, and at other look-aheads.

espeak-ng speaks four sentences in three voices; its own phoneme times define the expected mouth. The analyser's constants were tuned on
these, so held-out speech (`held_out`) is scored too: other sentences in other voices, the same with breath in the pauses, and ten other
languages. `--recording` adds the sound of a recorded AvatarKit conversation, aligned by pocketsphinx (from PyPI).

The poses come from the device's own chain: the output of `AudioMouth` for sound that arrives 20 ms at a time. Other look-aheads use
refitted models in the analyser of `LIVE`, on the tuning sentences and the recording; a model uses at most the next 132.5 ms. The opening
is that of the drawn mesh; with `--pictures`, lips count as apart if pixels between them show a gap, at 480x480, 30 pictures per second.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.mouth.features import HOP_S, WINDOW_S
from avatar_relay.mouth.live_analyser import LIVE_KEYFRAMES_PER_SECOND, LiveMouthAnalyser
from avatar_relay.mouth.model import CONTEXT_FRAMES
from avatar_relay.mouth.shapes import BLENDSHAPE_NAMES, to_weights
from edge_client.motion.audio_mouth import AudioMouth
from edge_client.motion.pose import Pose, neutral_pose
from relay_server.sources import espeak
from relay_server.sources.coarticulation import Phoneme
from relay_server.sources.recording import load_recording
from tests.lab.mouth import held_out, score_languages
from tests.lab.mouth.fitting import examples, fit
from tests.lab.mouth.score import TEXTS, VOICES, Judged, Score, phonemes_of_sound, recognised, score
from tests.lab.mouth.score_sources import opened, seen
from tests.lab.tool import command_line

PICTURES_PER_SECOND = 30.0
LIVE_LOOK_AHEAD_MS = 40
LOOK_AHEADS_MS = (80, 160, 320)
STEP_S = 0.02
Sound = tuple[tuple[Phoneme, ...], NDArray[np.int16], int]
"""Phonemes, samples, rate."""
Poses = Callable[[NDArray[np.int16], int], list[Pose]]


def synthetic(texts: Sequence[str] = TEXTS, voices: Sequence[str] = VOICES) -> list[Sound]:
    """Sentences spoken by espeak-ng."""
    return _sounds([espeak.load().speak(text, espeak.Voice(voice)) for voice in voices for text in texts])


def never_tuned_on() -> dict[str, list[Sound]]:
    """Held-out speech by group; no constant was tuned on it."""
    languages = [sound for voice, texts in score_languages.TEXTS.items() for sound in synthetic(texts, (voice,))]
    return {
        "held out: other sentences in four other voices": synthetic(held_out.TEXTS, held_out.VOICES),
        "held out, with breath in the pauses": _sounds(held_out.breathing()),
        "held out: ten languages": languages,
    }


def _sounds(spoken: Sequence[espeak.Spoken]) -> list[Sound]:
    return [(piece.phonemes, piece.samples, piece.rate_hz) for piece in spoken]


def recorded(path: Path) -> Sound:
    """The sound of a recorded conversation."""
    samples = np.frombuffer(load_recording(path).audio, "<i2")
    return phonemes_of_sound(samples, recognised(samples)), samples, 16_000


def device_poses(samples: NDArray[np.int16], rate_hz: int, *, live: bool) -> list[Pose]:
    """The device's poses, one per picture."""
    mouth, step = AudioMouth(rate_hz, 1.0, live=live), round(STEP_S * rate_hz)
    for start in range(0, samples.size, step):
        mouth.hear(start * 1e6 / rate_hz, samples[start : start + step])
        mouth.analyse()
    mouth.end()
    while mouth.analyse():
        pass
    times_us = np.arange(0, samples.size / rate_hz, 1 / PICTURES_PER_SECOND) * 1e6
    found = [mouth.sample(round(time_us)) for time_us in times_us]
    return [sample.pose if sample is not None and sample.covered else neutral_pose() for sample in found]


def future_frames_of(look_ahead_ms: int) -> int:
    """Number of future frames available to a model with this look-ahead."""
    return min(CONTEXT_FRAMES, int((look_ahead_ms / 1e3 - WINDOW_S / 2) / HOP_S))


def refitted_poses(look_ahead_ms: int) -> Poses:
    """The device's poses with a model refitted for this look-ahead."""
    future_frames = future_frames_of(look_ahead_ms)
    model = fit(*examples(future_frames))

    def poses(samples: NDArray[np.int16], rate_hz: int) -> list[Pose]:
        analyser = LiveMouthAnalyser(rate_hz, model, future_frames)
        rows = to_weights(np.vstack((analyser.push(samples / 32_768), analyser.finish())))
        at = np.arange(0, samples.size / rate_hz, 1 / PICTURES_PER_SECOND) * LIVE_KEYFRAMES_PER_SECOND
        found = []
        for index in np.minimum(np.rint(at).astype(int), len(rows) - 1):
            pose = neutral_pose()
            pose[[ARKIT_INDEX[name] for name in BLENDSHAPE_NAMES]] = rows[index]
            found.append(pose)
        return found

    return poses


def judge(sounds: Sequence[Sound], poses: Poses, openings: Callable[[Sequence[Pose]], NDArray[np.float64]]) -> Score:
    """Score all sounds, using every pose."""
    shown = [poses(samples, rate_hz) for _, samples, rate_hz in sounds]
    opening = np.split(openings([pose for found in shown for pose in found]), np.cumsum([len(found) for found in shown])[:-1])
    return score([Judged(sound[0], part, PICTURES_PER_SECOND) for sound, part in zip(sounds, opening, strict=True)])


def _named(what: str, look_ahead_ms: int) -> str:
    heard_ms = (WINDOW_S / 2 + future_frames_of(look_ahead_ms) * HOP_S) * 1e3
    return f"{what}, {look_ahead_ms} ms (hears {heard_ms:.1f} ms)"


def main() -> int:
    """Print the scores."""
    parser = command_line("mouth/score_without_motion", __doc__)
    parser.add_argument("--recording", type=Path, metavar="RECORDING.json", help="a recorded AvatarKit conversation")
    parser.add_argument("--pictures", action="store_true", help="look at pixels instead of the mesh")
    arguments = parser.parse_args()
    openings = seen if arguments.pictures else opened
    on_device: dict[str, Poses] = {
        "BURST": lambda samples, rate_hz: device_poses(samples, rate_hz, live=False),
        _named("LIVE", LIVE_LOOK_AHEAD_MS): lambda samples, rate_hz: device_poses(samples, rate_hz, live=True),
    }
    further = {_named("refitted", ms): refitted_poses(ms) for ms in LOOK_AHEADS_MS}
    groups = {"three voices of espeak-ng": synthetic()}
    if arguments.recording is not None:
        groups["the recording"] = [recorded(arguments.recording)]
    for group, sounds in (groups | never_tuned_on()).items():
        print(f"{group}:", flush=True)
        for name, poses in (on_device | further if group in groups else on_device).items():
            print(f"  {name:33}", judge(sounds, poses, openings), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
