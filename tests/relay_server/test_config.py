"""Settings: invalid values are refused by name; flags override environment, file and defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avatar_relay.errors import ConfigError
from relay_server.cli import build_parser, load_config
from relay_server.config import RelayConfig


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"listen": "0.0.0.0:1"}, "listen"),
        ({"listen": "localhost"}, "listen"),
        ({"listen": "127.0.0.1:99999"}, "listen"),
        ({"heartbeat_us": 5_000_000}, "heartbeat_ms"),
        ({"lag_bytes": 1}, "window_bytes"),
        ({"speech_folder": Path("/nowhere/at/all")}, "speech_folder"),
        ({"access_file": Path("/nowhere/at/all")}, "access_file"),
        ({"tls_cert_file": Path(__file__)}, "tls_cert_file and tls_key_file"),
        ({"tls_client_ca_file": Path(__file__)}, "tls_client_ca_file"),
        ({"admin_listen": "0.0.0.0:1"}, "admin_listen"),
        ({"admin_listen": "nonsense"}, "admin_listen"),
        ({"groups": {"no spaces": ("a",)}}, "groups"),
        ({"groups": {"all": ()}}, "groups"),
        ({"groups": {"all": ("all",)}}, "groups"),
    ],
)
def test_what_can_not_be_is_refused(settings: dict[str, Any], named: str) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigError, match=named):
        RelayConfig(**settings)


def test_another_address_needs_to_be_allowed() -> None:
    """Plaintext on a reachable address must be allowed explicitly."""
    assert RelayConfig(listen="0.0.0.0:1", insecure_listen=True).listen == "0.0.0.0:1"


def test_another_address_is_guarded(tmp_path: Path) -> None:
    """Requires both encryption and credentials; one of them is not enough."""
    file = tmp_path / "some"
    file.touch()
    tls: dict[str, Any] = {"tls_cert_file": file, "tls_key_file": file}
    assert RelayConfig(listen="0.0.0.0:1", admin_listen="off", access_file=file, **tls).listen == "0.0.0.0:1"
    with pytest.raises(ConfigError, match="without credentials"):
        RelayConfig(listen="0.0.0.0:1", **tls)
    with pytest.raises(ConfigError, match="in plaintext"):
        RelayConfig(listen="0.0.0.0:1", access_file=file)


def load(*flags: str, environment: dict[str, str] | None = None) -> RelayConfig:
    """Return the settings that result from a command line and an environment."""
    return load_config(build_parser().parse_args(flags), environment or {})


def test_flags_go_before_environment_before_file(tmp_path: Path) -> None:
    """Anything unset has its default."""
    file = tmp_path / "relay.toml"
    file.write_text('listen = "127.0.0.1:1"\ndrain_grace_ms = 1\nchannelz = true\n[groups]\nall = ["lobby", "hall"]\n')
    environment = {"AVATAR_RELAY_LISTEN": "127.0.0.1:2", "AVATAR_RELAY_DRAIN_GRACE_MS": "2"}
    config = load("--config", str(file), "--listen", "127.0.0.1:3", environment=environment)
    assert (config.listen, config.drain_grace_us, config.channelz) == ("127.0.0.1:3", 2_000, True)
    assert config.groups == {"all": ("lobby", "hall")}
    assert config.device_lease_us == RelayConfig().device_lease_us


def test_groups_by_flag(tmp_path: Path) -> None:
    """A table with the syntax of the file; a folder from the environment."""
    config = load("--groups", '{all = ["lobby", "hall"], one = ["lobby"]}', environment={"AVATAR_RELAY_SPEECH_FOLDER": str(tmp_path)})
    assert config.groups == {"all": ("lobby", "hall"), "one": ("lobby",)}
    assert config.speech_folder == tmp_path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("listen = 3", "listen: 3 cannot be used; it takes text"),
        ("max_devices = true", "max_devices"),
        ("max_devicez = 3", "no such setting"),
        ("groups = 3", "groups"),
        ('groups = {all = "lobby"}', "groups"),
        ("device_lease_ms = -1", "takes a whole number from 0"),
        ("max_devices = 0", "takes a whole number from 1"),
        ("window_bytes = 1", "takes a whole number from 2621440"),
        ("listen =", "not valid TOML"),
        ("\udcff", "not valid TOML"),
    ],
)
def test_a_faulty_file_is_told(tmp_path: Path, text: str, said: str) -> None:
    """The error names the fault and its location."""
    file = tmp_path / "relay.toml"
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(ConfigError, match=said):
        load("--config", str(file))


def test_a_file_without_an_end_is_told() -> None:
    """It is not read into memory."""
    with pytest.raises(ConfigError, match="/dev/zero is larger than 1048576 bytes"):
        load("--config", "/dev/zero")


@pytest.mark.parametrize(("name", "text"), [("CHANNELZ", "maybe"), ("MAX_DEVICES", "-1"), ("MAX_DEVICES", "many")])
def test_a_faulty_environment_is_told(name: str, text: str) -> None:
    """The error names the variable."""
    with pytest.raises(ConfigError, match=f"AVATAR_RELAY_{name}"):
        load(environment={f"AVATAR_RELAY_{name}": text})


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """The error contains the path."""
    with pytest.raises(ConfigError, match=r"absent\.toml cannot be read"):
        load("--config", str(tmp_path / "absent.toml"))


def test_empty_variables_are_unset_and_files_come_from_any_editor(tmp_path: Path) -> None:
    """A byte order mark and CRLF are ignored; an empty variable does not name a file."""
    file = tmp_path / "relay.toml"
    file.write_bytes('\ufefflisten = "127.0.0.1:0"\r\nchannelz = true\r\n'.encode())
    config = load("--config", str(file), environment={"AVATAR_RELAY_ACCESS_FILE": "", "AVATAR_RELAY_CHANNELZ": ""})
    assert (config.listen, config.channelz, config.access_file) == ("127.0.0.1:0", True, None)
