"""Fitting a FLAME map on a conversation whose coefficients are known to contain the mouth."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from avatar_relay import avatarkit
from avatar_relay.avatarkit import EXPRESSION, KEYFRAME_SIZE, AvatarKitMotion
from edge_client.motion.avatarkit import load_flame_map
from scripts.assets import fit_flame_map
from tests.lab.recordings import recording, speech_like

KEYFRAMES = 500
TELLING = 7
"""The coefficient that follows the loudness of the sound; all others are noise."""


def write_conversation(path: Path, *, telling: bool) -> Path:
    """A recording in which one coefficient follows the syllables, or none does."""
    rows = np.random.default_rng(2).normal(size=(KEYFRAMES, KEYFRAME_SIZE)).astype(np.float32) * 0.3
    rows[:, : EXPRESSION.start] = 0.0
    if telling:
        sound = speech_like(KEYFRAMES / 25, 16_000).astype(np.float64)
        loudness = np.sqrt((sound.reshape(KEYFRAMES, -1) ** 2).mean(axis=1))
        rows[:, EXPRESSION.start + TELLING] += 2 * loudness / loudness.max()
    document = recording((KEYFRAMES,))
    message = avatarkit.write(AvatarKitMotion("", "", True, "", rows))
    document["animation_messages_base64"] = [base64.b64encode(message).decode()]
    path.write_text(json.dumps(document))
    return path


def test_what_the_coefficients_hold_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coefficient with the signal opens the jaw most; the mouth moves in speech and rests in silence; a report is beside the map."""
    path, out = write_conversation(tmp_path / "made.json", telling=True), tmp_path / "map.npz"
    monkeypatch.setattr("sys.argv", ["fit_flame_map.py", str(path), "--out", str(out)])
    fits: list[tuple[fit_flame_map.Data, fit_flame_map.Fit]] = []
    fit = fit_flame_map.fit

    def recorded_fit(data: fit_flame_map.Data) -> fit_flame_map.Fit:
        fits.append((data, fit(data)))
        return fits[-1][1]

    monkeypatch.setattr(fit_flame_map, "fit", recorded_fit)
    fit_flame_map.main()
    flame_map = load_flame_map(out)
    ((data, found),) = fits
    jaw = found.names.index("jawOpen")
    assert np.abs(found.matrix[:, jaw]).argmax() == TELLING
    assert found.r[jaw] > 0.5
    assert flame_map.matrix.shape[1] == len(found.names)
    opening = fit_flame_map.opening(data, found)
    assert opening[data.speech].mean() > 4 * opening[data.silent].mean()
    assert "made.json" in out.with_suffix(".md").read_text()


def test_noise_is_not_mapped(tmp_path: Path) -> None:
    """If the coefficients contain no signal, none is fitted."""
    with pytest.raises(SystemExit, match="tell nothing"):
        fit_flame_map.fit(fit_flame_map.load([write_conversation(tmp_path / "made.json", telling=False)]))
