"""Fit the map from AvatarKit's expression coefficients to mouth weights on recorded conversations.

    scripts/assets/fit_flame_map.py RECORDING.json [...] [--out edge_client/motion/assets/flame_map.npz]

The meaning of each coefficient is not public, and no licensed head model may be used. But a recorded conversation contains
both motion and sound: the analyser of the source `local` (the teacher) estimates mouth weights from the sound, and a ridge
regression predicts these from the coefficients. Quality is cross-validated on held-out parts of the recordings; targets that
cannot be predicted are left out. The others are shifted and scaled so that the lips are at rest in silence and move in speech
as far as the analyser moves them. The map contains only coefficients of that fit, no data of a recording.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar_relay import avatarkit
from avatar_relay.avatarkit import EXPRESSION, JAW_POSE
from avatar_relay.limits import AVATARKIT_KEYFRAMES_PER_SECOND
from avatar_relay.mouth.analyser import MouthAnalyser
from avatar_relay.mouth.features import FeatureExtractor, join
from avatar_relay.mouth.shapes import BLENDSHAPE_NAMES, KEYFRAMES_PER_SECOND, to_weights
from edge_client.motion.avatarkit import EXPRESSION_SIZE, JAW_OPEN_RAD
from relay_server.sources.recording import load_recording
from tests.lab.mouth.lip_opening import OPEN_FROM, SHUT_BELOW, lip_opening
from tests.lab.tool import command_line

Floats = NDArray[np.float64]

OUT = Path(__file__).parents[2] / "edge_client" / "motion" / "assets" / "flame_map.npz"
RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
FOLDS = 5
LEAST_R = 0.2
"""Least correlation on held-out data; targets below it count as noise."""
SILENCE_UNDER_PEAK_DB = 35.0
SPEECH_UNDER_PEAK_DB = 20.0
RESTING_SHARE = 0.85
"""Share of the silent keyframes in which a weight must be 0."""
MOST_STRETCH = 3.0
"""Upper limit of the scale factor. Predictions vary less than the teacher; a larger factor would amplify noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """All recordings: coefficients and the teacher's weights, one row per keyframe."""

    expression: Floats
    jaw: Floats
    teacher: Floats
    silent: NDArray[np.bool_]
    speech: NDArray[np.bool_]
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A map and its quality: for each name, the correlation with the teacher on held-out data."""

    names: tuple[str, ...]
    matrix: Floats
    offset: Floats
    ridge: float
    r: tuple[float, ...]


def load(paths: list[Path]) -> Data:
    """Read recordings and run the teacher on their sound."""
    parts = [_load(path) for path in paths]
    columns = zip(*parts, strict=True)
    expression, jaw, teacher, silent, speech = (np.concatenate(column) for column in columns)
    return Data(expression, jaw, teacher, silent, speech, len(expression) / AVATARKIT_KEYFRAMES_PER_SECOND)


def _load(path: Path) -> tuple[Floats, Floats, Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    recording = load_recording(path)
    keyframes = np.vstack([avatarkit.read(message).keyframes for message in recording.messages]).astype(np.float64)
    samples = np.frombuffer(recording.audio, "<i2") / 32_768
    extractor = FeatureExtractor(recording.sample_rate_hz)
    level_db = join(extractor.push(samples), extractor.finish()).level_db
    peak_db = float(level_db.max())
    analyser = MouthAnalyser(recording.sample_rate_hz, peak_db)
    weights = to_weights(np.vstack((analyser.push(samples), analyser.finish())))
    times = np.arange(len(keyframes)) / AVATARKIT_KEYFRAMES_PER_SECOND
    heard = np.arange(len(weights)) / KEYFRAMES_PER_SECOND
    teacher = np.stack([np.interp(times, heard, column) for column in weights.T], axis=1)
    frames = np.minimum(np.rint(times * 100).astype(int), len(level_db) - 1)
    silent = level_db[frames] < peak_db - SILENCE_UNDER_PEAK_DB
    speech = level_db[frames] > peak_db - SPEECH_UNDER_PEAK_DB
    return keyframes[:, EXPRESSION], keyframes[:, JAW_POSE][:, 0] / JAW_OPEN_RAD, teacher, silent, speech


def fit(data: Data) -> Fit:
    """Choose the ridge by cross-validation, drop unpredictable targets, fit on all data, and bring the lips to rest in silence."""
    targets = data.teacher.copy()
    targets[:, BLENDSHAPE_NAMES.index("jawOpen")] -= data.jaw
    scored = [(ridge, _correlations(_unseen(data.expression, targets, ridge), targets)) for ridge in RIDGES]
    ridge, r = max(scored, key=lambda pair: float(np.mean(np.maximum(pair[1], 0.0))))
    kept = [index for index, value in enumerate(r) if value >= LEAST_R]
    if not kept:
        raise SystemExit("the recordings tell nothing: no target is found in the coefficients")
    matrix, offset = _solve(data.expression, targets[:, kept], ridge)
    names = [BLENDSHAPE_NAMES[index] for index in kept]
    matrix, offset = _rested(data, matrix, offset, names)
    return Fit(tuple(names), matrix, offset, ridge, tuple(float(r[index]) for index in kept))


def _solve(inputs: Floats, targets: Floats, ridge: float) -> tuple[Floats, Floats]:
    mean, middle = inputs.mean(axis=0), targets.mean(axis=0)
    centred = inputs - mean
    matrix = np.linalg.solve(centred.T @ centred + ridge * np.eye(EXPRESSION_SIZE), centred.T @ (targets - middle))
    return matrix, middle - mean @ matrix


def _unseen(inputs: Floats, targets: Floats, ridge: float) -> Floats:
    """Predictions for each fifth of the time, from a fit on the other four."""
    predicted = np.empty_like(targets)
    fold = np.arange(len(inputs)) * FOLDS // len(inputs)
    for index in range(FOLDS):
        matrix, offset = _solve(inputs[fold != index], targets[fold != index], ridge)
        predicted[fold == index] = inputs[fold == index] @ matrix + offset
    return predicted


def _correlations(predicted: Floats, targets: Floats) -> Floats:
    a, b = predicted - predicted.mean(axis=0), targets - targets.mean(axis=0)
    return np.asarray((a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0) + 1e-12))


def _rested(data: Data, matrix: Floats, offset: Floats, names: list[str]) -> tuple[Floats, Floats]:
    """Shift each target so that it is 0 in most of the silence, and scale it so that its mean in speech matches the teacher's.

    The jaw's own coefficient, which the decoder adds to `jawOpen`, is not changed; the map compensates for it in silence.
    """
    silent = data.silent if data.silent.any() else ~data.speech
    moved, stretched = matrix.copy(), offset.copy()
    for index, name in enumerate(names):
        found = data.expression @ matrix[:, index] + offset[index]
        own = data.jaw if name == "jawOpen" else np.zeros(len(found))
        wanted = data.teacher[data.speech, BLENDSHAPE_NAMES.index(name)].mean()
        stretch, shift = _stretch(found, own, silent, data.speech, float(wanted))
        moved[:, index] *= stretch
        stretched[index] = offset[index] * stretch + shift
    return moved, stretched


def _stretch(found: Floats, own: Floats, silent: NDArray[np.bool_], speech: NDArray[np.bool_], wanted: float) -> tuple[float, float]:
    """The scale factor of `found`, by bisection, and the shift that brings it to rest in silence at that scale."""
    low, high = 0.0, MOST_STRETCH
    for _ in range(30):
        stretch = (low + high) / 2
        shift = -float(np.quantile(found[silent] * stretch + own[silent], RESTING_SHARE))
        mean = float(np.clip(found[speech] * stretch + shift + own[speech], 0.0, 1.0).mean())
        low, high = (stretch, high) if mean < wanted else (low, stretch)
    return stretch, shift


def opening(data: Data, found: Fit) -> Floats:
    """Lip opening for each keyframe according to the map, jaw included."""
    weights = data.expression @ found.matrix + found.offset
    if "jawOpen" in found.names:
        weights[:, found.names.index("jawOpen")] += data.jaw
    return lip_opening(np.clip(weights, 0.0, 1.0), found.names)


def report(data: Data, found: Fit, paths: list[Path]) -> str:
    """Human-readable report: how the map was fitted, and its quality."""
    wide = opening(data, found)
    shut, open_ = float(np.mean(wide[data.silent] < SHUT_BELOW)), float(np.mean(wide[data.speech] > OPEN_FROM))
    lines = [
        "# flame_map.npz",
        "",
        "Maps AvatarKit's 100 expression coefficients to mouth weights: expression @ matrix + offset, held between 0 and 1",
        "(the jaw's own rotation is added to `jawOpen` before that).",
        "Written by `scripts/assets/fit_flame_map.py`; holds coefficients of a ridge regression only, nothing of a recording.",
        "",
        f"- Fitted on: {', '.join(path.name for path in paths)} ({data.seconds:.1f} s, {len(data.expression)} keyframes)",
        f"- Ridge {found.ridge:g}, chosen by cross-validation over {FOLDS} stretches of time",
        f"- Mean lip opening in speech {wide[data.speech].mean():.3f}, in silence {wide[data.silent].mean():.3f} (the same recordings)",
        f"- Keyframes in speech with the lips apart {open_:.0%}, in silence with the lips together {shut:.0%}",
        f"- Analyser (teacher): speech {lip_opening(data.teacher)[data.speech].mean():.3f}, "
        f"silence {lip_opening(data.teacher)[data.silent].mean():.3f}",
        "",
        "| target | r with the analyser, where the fit has not seen it |",
        "|---|---|",
        *(f"| {name} | {r:.2f} |" for name, r in zip(found.names, found.r, strict=True)),
        "",
        "Targets that are missing were not found in the coefficients (r < " + f"{LEAST_R}).",
        "An avatar of your own: record conversations with it, and fit a map of your own.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Fit, print the report, and write the map with the report beside it."""
    parser = command_line("assets/fit_flame_map", __doc__)
    parser.add_argument("recordings", nargs="+", type=Path, metavar="RECORDING.json")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    data = load(arguments.recordings)
    found = fit(data)
    text = report(data, found, arguments.recordings)
    print(text)
    np.savez_compressed(
        arguments.out, matrix=found.matrix.astype(np.float32), offset=found.offset.astype(np.float32), names=np.array(found.names)
    )
    arguments.out.with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
