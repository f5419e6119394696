from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.audio.devices import OutputDevice, choose_output, describe_exit, format_outputs, list_outputs, parse_outputs
from edge_client.errors import SinkError
from tests.lab.sound_card.paced_card import PacedDevice, paced_device, paced_library

__all__ = ["paced_device", "paced_library"]


def _device(index: int, name: str, *, is_default: bool = False) -> OutputDevice:
    return OutputDevice(index=index, name=name, channels=2, rate_hz=48_000, host_api="ALSA", is_default=is_default)


_DEVICES = [
    _device(0, "HDMI 0"),
    _device(2, "USB Audio: - (hw:1,0)"),
    _device(5, "default", is_default=True),
    _device(6, "HDMI 1"),
    _device(7, "HDMI"),
]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [("", 5), ("2", 2), ("usb", 2), ("HDMI 1", 6), ("hdmi 0", 0), ("HDMI", 7), ("default", 5)],
)
def test_choose(wanted: str, index: int) -> None:
    """By nothing (the default), by index, by name, by the beginning of a name in any case."""
    assert choose_output(_DEVICES, wanted).index == index


def test_first_where_none_is_the_default() -> None:
    """A machine may have outputs and no default."""
    assert choose_output(_DEVICES[:2]).index == 0


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ("hdm", r"several outputs: \[0\] HDMI 0.*\[7\] HDMI"),
        ("9", r"none of the outputs: \[0\] HDMI 0"),
        ("speakers", "none of the outputs"),
    ],
)
def test_choose_what_is_not_there(wanted: str, complaint: str) -> None:
    """The error lists what there is."""
    with pytest.raises(SinkError, match=complaint):
        choose_output(_DEVICES, wanted)


def test_no_sound_card() -> None:
    """Without any output the error says so, and what to look at."""
    with pytest.raises(SinkError, match="no sound card"):
        choose_output([], "usb")


def test_listing_crosses_the_pipe() -> None:
    """Names with odd characters survive."""
    devices = [_device(3, 'Ünïcode "quoted"')]
    assert parse_outputs(format_outputs(devices)) == devices


def test_exit_in_words() -> None:
    """A signal is named."""
    assert describe_exit(-6) == "killed by SIGABRT"
    assert describe_exit(1) == "exit code 1"


def test_list_real_outputs(paced_device: PacedDevice) -> None:
    """PortAudio in a process of its own lists what ALSA's configuration has."""
    pytest.importorskip("pyaudio")
    names = {device.name: device for device in list_outputs()}
    assert names["paced"].channels == 1
    assert names["paced"].host_api == "ALSA"
    assert sum(device.is_default for device in names.values()) == 1


def test_broken_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration of ALSA that PortAudio can not live with is an error in words, never a crash."""
    pytest.importorskip("pyaudio")
    config = tmp_path / "asound.conf"
    config.write_text("pcm.broken { type\n", encoding="ascii")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    with pytest.raises(SinkError, match=r"cannot list its outputs, .*: PortAudio can not start"):
        choose_output(list_outputs())
