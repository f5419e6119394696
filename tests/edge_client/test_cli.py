"""The command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_client import app, cli
from edge_client.audio import devices
from edge_client.audio.outputs import OutputDevice
from edge_client.config import SETTINGS, EdgeConfig
from edge_client.errors import SinkError

DEVICES = [OutputDevice(0, "HDMI", ""), OutputDevice(3, "default", "Default ALSA Output")]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[EdgeConfig]:
    """Configurations that the program was run with."""
    configs: list[EdgeConfig] = []

    def run(config: EdgeConfig) -> int:
        configs.append(config)
        return 7

    monkeypatch.setattr(app, "run", run)
    for name in ("EDGE_CLIENT_RELAY", "EDGE_CLIENT_RATE_HZ"):
        monkeypatch.delenv(name, raising=False)
    return configs


def test_running_is_the_default(ran: list[EdgeConfig]) -> None:
    """The command runs with and without the word `run`; the exit status is that of the command."""
    assert cli.main(["--device-id", "kitchen", "--fullscreen", "--size", "640x480"]) == 7
    assert cli.main(["run", "--no-fullscreen", "--rate-hz", "44100"]) == 7
    assert ran == [EdgeConfig(device_id="kitchen", fullscreen=True, size=(640, 480)), EdgeConfig(rate_hz=44_100)]


def test_flags_overrule_the_environment(ran: list[EdgeConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Flags also overrule the file."""
    file = tmp_path / "edge.toml"
    file.write_text('relay = "127.0.0.1:1"\nrate_hz = 8000\nvolume = 0.5\n')
    monkeypatch.setenv("EDGE_CLIENT_RELAY", "127.0.0.1:2")
    monkeypatch.setenv("EDGE_CLIENT_RATE_HZ", "16000")
    assert cli.main(["--config", str(file), "--relay", "127.0.0.1:3"]) == 7
    assert ran == [EdgeConfig(relay=("127.0.0.1:3",), rate_hz=16_000, volume=0.5)]


def test_wrong_settings_are_told_in_one_line(ran: list[EdgeConfig], capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, the setting and its accepted values, no traceback, and nothing is started."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["--rate-hz", "fast"])
    assert caught.value.code == 2
    assert (
        capsys.readouterr().err == "edge-client: error: --rate-hz: 'fast' cannot be used; it takes a whole number from 8000 to 192000 Hz\n"
    )
    assert ran == []


def test_devices_are_listed_with_the_chosen_one_marked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The default device, or the one named in the settings."""
    monkeypatch.setattr(devices, "list_outputs", lambda: DEVICES)
    assert cli.main(["devices"]) == 0
    assert [line[0] for line in capsys.readouterr().out.splitlines()] == [" ", "*"]
    assert cli.main(["devices", "--audio-device", "hdmi"]) == 0
    assert [line[:6] for line in capsys.readouterr().out.splitlines()] == ["* [0] ", "  [3] "]


@pytest.mark.parametrize("found", [[], SinkError("PortAudio cannot list its outputs")])
def test_no_devices_is_a_failure_with_a_reason(found: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without devices the status is 1, with a text that names the remedy."""

    def listed() -> list[OutputDevice]:
        if isinstance(found, SinkError):
            raise found
        return list(found)

    monkeypatch.setattr(devices, "list_outputs", listed)
    assert cli.main(["devices"]) == 1
    assert capsys.readouterr().err.startswith("edge-client: error: ")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version has name and number."""
    assert cli.main(["version"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("edge-client 0.")
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == said


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """One flag for each setting."""
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    for name in SETTINGS.sections[0].settings:
        assert "--" + name.replace("_", "-") in text
