"""Settings: their origins and precedence, and the reports of wrong ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from avatar_relay.errors import ConfigError
from edge_client.config import AUTO, SETTINGS, EdgeConfig, load_config


def load(
    tmp_path: Path, flags: Mapping[str, object] | None = None, environment: Mapping[str, str] | None = None, toml: str = ""
) -> EdgeConfig:
    """A configuration from flags, environment and file text."""
    file = tmp_path / "edge.toml"
    file.write_text(toml)
    return load_config(flags or {}, environment or {}, file=file)


def test_defaults_are_safe(tmp_path: Path) -> None:
    """Defaults: the relay on this machine, in plaintext; unrelated environment variables are ignored."""
    config = load(tmp_path, environment={"HOME": "/root"})
    assert config == EdgeConfig()
    assert config.relay == AUTO
    assert not config.tls


def test_flag_over_environment_over_file_over_default(tmp_path: Path) -> None:
    """Each origin overrules the next."""
    toml = 'device_id = "file"\nrate_hz = 44100\nsize = "640x480"\n'
    environment = {"EDGE_CLIENT_DEVICE_ID": "environment", "EDGE_CLIENT_RATE_HZ": "32000"}
    config = load(tmp_path, {"device_id": "flag"}, environment, toml)
    assert (config.device_id, config.rate_hz, config.size, config.frames_per_buffer) == ("flag", 32_000, (640, 480), 480)


def test_every_setting_can_be_said_everywhere(tmp_path: Path) -> None:
    """Each setting has a parser and a text, and all values of a file arrive with their types."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("x")
    toml = f"""
relay = ["relay.example:443", "other.example:443"]
tls_ca_file = "{ca_file}"
tls_cert_file = "{ca_file}"
tls_key_file = "{ca_file}"
token_file = "{ca_file}"
insecure = false
pairing = false
device_id = "kitchen"
audio_sink = "virtual"
audio_device = "hw:1"
rate_hz = 24000
frames_per_buffer = 1024
audio_side = "left"
keep_alive = true
audio_mixer = "PCM"
release_after_s = 0
latency = "safe"
output_offset_ms = 120
volume = 0.5
frame_starvation = "strict_sync"
mouth_source = "blend"
flame_map = "{ca_file}"
renderer = "none"
head = "kofi"
size = "1280x720"
render_size = "640x360"
rotation = 270
round_screen = true
burn_in_shift = 6
monitor = "HDMI"
sleep_after_s = 600
sleep_hours = "22:00-07:00"
sleep_command = "cec-ctl 'of mine'"
fullscreen = true
headless = true
stamp = true
figures = true
detail = "low"
hair = "short"
idle_life = false
skin_colour = "#8d5524"
hair_colour = "#101010"
eye_colour = "#5b3a1e"
background = "studio"
background_colour = "#304030"
pictures_per_second = 25
record = "{tmp_path}"
exit_after_finished = 2
log_level = "debug"
log_format = "json"
update_index = "https://updates.example/index"
"""
    config = load(tmp_path, toml=toml)
    assert config.output_offset_ms == 120.0
    assert config.record == tmp_path
    assert config.fullscreen is True
    (section,) = SETTINGS.sections
    for name, setting in section.settings.items():
        assert f"\n{name} = " in toml
        assert setting.text
        assert name in ("insecure", "release_after_s") or getattr(config, name) != setting.default


def test_default_file_may_be_missing_a_named_one_may_not(tmp_path: Path) -> None:
    """The default file is optional; a file that is named must exist."""
    assert load_config({}, {}, file=None, default_file=tmp_path / "none.toml") == EdgeConfig()
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        load_config({}, {}, file=tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("relay", "insecure", "tls"),
    [
        ("127.0.0.1:52000", False, False),
        ("[::1]:52000", False, False),
        ("localhost:1", False, False),
        ("10.0.0.5:52000", False, True),
        ("10.0.0.5:52000", True, False),
        ("relay.example:443", False, True),
        ("127.0.0.1.example:443", False, True),
    ],
)
def test_plaintext_only_within_this_machine(relay: str, insecure: bool, tls: bool) -> None:
    """Any connection that leaves this machine is encrypted unless the operator says otherwise."""
    assert EdgeConfig(relay=(relay,), insecure=insecure).tls is tls


@pytest.mark.parametrize(
    ("toml", "text"),
    [
        ('relay = "nowhere"', "not HOST:PORT"),
        ('relay = "::1:52000"', "not HOST:PORT"),
        ('relay = "host:0"', "not HOST:PORT"),
        ('relay = "host:٣"', "not HOST:PORT"),
        ('device_id = "kitchen sink"', "device_id: 'kitchen sink' cannot be a name"),
        ('relay = ["a:1", "nowhere"]', "not HOST:PORT"),
        ("relay = []", "relay: [] cannot be used; it takes HOST:PORT, or several separated by commas"),
        ("rate_hz = 4", "rate_hz: 4 cannot be used; it takes a whole number from 8000 to 192000 Hz"),
        ("rate_hz = 48000.5", "takes a whole number"),
        ("rate_hz = true", "takes a whole number"),
        ("volume = nan", "volume: nan cannot be used; it takes a number from 0 to 1"),
        ("volume = 11", "takes a number from 0 to 1"),
        ('size = "800"', "takes WIDTHxHEIGHT"),
        ('size = "9999x9999"', "takes WIDTHxHEIGHT"),
        ('fullscreen = "maybe"', "takes true or false"),
        ('renderer = "vulkan"', "takes one of auto, gles, flat, none"),
        ('frame_starvation = "drop"', "takes one of audio_independent, strict_sync"),
        ('device = "x"', "no such setting; did you mean device_id?"),
        ("zzz = 1", "no such setting; docs/settings.md lists all"),
        ("relay = 3", "takes HOST:PORT"),
        ("record = 3", "takes a path"),
        ('audio_sink = "wav"', "name one with record"),
        ('tls_ca_file = "/does/not/exist"', "there is no file /does/not/exist"),
        ("relay = ", "not valid TOML"),
        ("[audio]\nrate_hz = 1", "no such setting"),
    ],
)
def test_wrong_values_are_told(tmp_path: Path, toml: str, text: str) -> None:
    """The text names the setting, its origin and the accepted values."""
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, toml=toml)
    assert text in str(raised.value)


def test_the_place_of_a_wrong_value_is_named(tmp_path: Path) -> None:
    """The error names the origin of a wrong value: flag, environment or file."""
    for flags, environment, toml, place in (
        ({"rate_hz": "x"}, {}, "", "--rate-hz: 'x'"),
        ({}, {"EDGE_CLIENT_RATE_HZ": "x"}, "", "EDGE_CLIENT_RATE_HZ: 'x'"),
        ({}, {}, 'rate_hz = "x"', "edge.toml: rate_hz: 'x'"),
    ):
        with pytest.raises(ConfigError) as raised:
            load(tmp_path, flags, environment, toml)
        assert place in str(raised.value)


def test_contradictions_are_told(tmp_path: Path) -> None:
    """Settings that exclude each other are named together; a record folder that is a file is refused."""
    file = tmp_path / "x"
    file.write_text("x")
    with pytest.raises(ConfigError, match="insecure and tls_ca_file contradict"):
        EdgeConfig(insecure=True, tls_ca_file=file)
    with pytest.raises(ConfigError, match="is not a folder"):
        EdgeConfig(record=file)


def test_a_token_does_not_travel_in_plaintext(tmp_path: Path) -> None:
    """A token may be sent in plaintext to this machine, elsewhere only over TLS; certificate and key are set together."""
    file = tmp_path / "some"
    file.write_text("x")
    assert not EdgeConfig(token_file=file).tls
    assert EdgeConfig(relay=("relay.example:1",), token_file=file).tls
    with pytest.raises(ConfigError, match="not sent in plaintext"):
        EdgeConfig(relay=("relay.example:1",), token_file=file, insecure=True)
    with pytest.raises(ConfigError, match="come together"):
        EdgeConfig(tls_cert_file=file)


def test_empty_variables_are_unset_and_files_come_from_any_editor(tmp_path: Path) -> None:
    """A byte order mark and CRLF are not part of the settings; an empty variable names no folder."""
    file = tmp_path / "edge.toml"
    file.write_bytes('\ufeffdevice_id = "bom"\r\nfullscreen = true\r\n'.encode())
    config = load_config({}, {"EDGE_CLIENT_RECORD": "", "EDGE_CLIENT_DEVICE_ID": ""}, file=file)
    assert (config.device_id, config.fullscreen, config.record) == ("bom", True, None)
