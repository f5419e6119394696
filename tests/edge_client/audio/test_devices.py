from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.audio.devices import format_outputs, list_outputs, parse_outputs
from edge_client.audio.outputs import Card, OutputDevice
from edge_client.errors import SinkError
from tests.lab.sound_card.paced_card import PacedDevice, paced_device, paced_library

__all__ = ["paced_device", "paced_library"]


def test_listing_crosses_the_pipe() -> None:
    """Names with unusual characters are unchanged, and cards too."""
    devices = [OutputDevice(3, 'Ünïcode "quoted"', ""), OutputDevice(4, "hw:CARD=A,DEV=0", "A", Card(0, "A", "A", 0, "/sys/a"))]
    assert parse_outputs(format_outputs(devices)) == devices


def test_list_real_outputs(paced_device: PacedDevice) -> None:
    """Names from ALSA's configuration are listed, without the plug-ins that need a card, and nothing is opened for it."""
    paced_device.hang("open")
    names = [device.name for device in list_outputs()]
    assert names[0] == "default"
    assert {"paced", "paced_slow"} <= set(names)
    assert not {"null", "hw", "plughw", "dmix", "samplerate"} & set(names)


def test_broken_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreadable ALSA configuration is an error with a text, never a crash."""
    config = tmp_path / "asound.conf"
    config.write_text("pcm.broken { type\n", encoding="ascii")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    with pytest.raises(SinkError, match=r"cannot list its outputs: ALSA's configuration cannot be read"):
        list_outputs()
