"""The test tone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyaudio")
from edge_client import cli
from edge_client.tone import ToneFeed
from tests.lab.sound_card.paced_card import PacedDevice, deep_paced_device, paced_library

__all__ = ["deep_paced_device", "paced_library"]


def test_it_is_heard(deep_paced_device: PacedDevice, capsys: pytest.CaptureFixture[str]) -> None:
    """The command plays it whole, and prints the output used."""
    assert cli.main(["tone", "--audio-device", "paced"]) == 0
    assert capsys.readouterr().out == "played 2 s of 440 Hz: PyAudio on ALSA, paced\n"
    tone = ToneFeed(48_000).samples
    places = np.flatnonzero(tone)
    assert np.array_equal(deep_paced_device.heard_between_first_and_last_sound(), tone[places[0] : places[-1] + 1])


def test_without_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a card the status is 1 with the reason."""
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "none.conf"))
    assert cli.main(["tone"]) == 1
    assert "default: it cannot be opened" in capsys.readouterr().err
