"""Settings of a Server SDK: invalid ones are refused by name; keys come from outside the configuration and are never printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avatar_relay.errors import ConfigError
from avatar_relay.settings import ProgramSettings
from relay_server.cli import build_parser, load_config
from relay_server.sources.avatarkit.plugin import SPATIUS, api_key_of
from relay_server.sources.avatarkit.settings import AvatarKitSettings

WELL: dict[str, Any] = {"app_id": "app", "avatar_id": "avatar", "region": "us-west"}
URLS: dict[str, Any] = {"console_url": "https://c.test/v1/console", "ingress_url": "wss://i.test/v2/driveningress"}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"app_id": ""}, "spatius.app_id"),
        ({"avatar_id": ""}, "spatius.avatar_id"),
        ({"region": ""}, "spatius.region"),
        ({"console_url": "https://c.test"}, "go together"),
        (URLS | {"console_url": "ftp://c.test"}, "spatius.console_url"),
        (URLS | {"ingress_url": "wss://user:pass@i.test/"}, "spatius.ingress_url"),
        (URLS | {"ingress_url": "wss://i.test/?sessionKey=1"}, "spatius.ingress_url"),
        ({"sample_rate_hz": 11_025}, "spatius.sample_rate_hz"),
        ({"warm_sessions": 3}, "max_sessions"),
        ({"max_sessions": 0}, "max-sessions"),
        ({"start_timeout_s": 0}, "start-timeout-s"),
        ({"session_max_s": 5}, "session_max_s"),
        ({"warm_sessions": 1.5}, "spatius-warm-sessions: 1.5 cannot be used"),
        ({"vendor_telemetry": 1}, "spatius-vendor-telemetry"),
    ],
)
def test_what_can_not_be_is_refused(changed: dict[str, Any], named: str) -> None:
    """The error names the setting."""
    flags = {f"spatius.{name}": value for name, value in (WELL | changed).items()}
    with pytest.raises(ConfigError, match=named):
        SPATIUS.make_settings(ProgramSettings("AVATAR_RELAY_", [SPATIUS.section("spatius")]).load(flags, {}, None)["spatius"])


def test_the_key_comes_from_the_environment_or_else_from_its_file(tmp_path: Path) -> None:
    """The first line of the file; the environment has priority."""
    file = tmp_path / "key"
    file.write_text(" key-of-file \nmore\n")
    settings = AvatarKitSettings(sdk="spatius", api_key_file=file, **WELL)
    assert api_key_of(settings, {}) == "key-of-file"
    assert api_key_of(settings, {"AVATAR_RELAY_SPATIUS_API_KEY": "key-of-environment"}) == "key-of-environment"


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"a\x01b"])
def test_a_key_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty, not text, or with characters that are invalid in a header."""
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match="spatius"):
        api_key_of(AvatarKitSettings(sdk="spatius", api_key_file=file, **WELL), {})


def test_a_device_is_given_its_source_by_the_file(tmp_path: Path) -> None:
    """One table for the device, one for the SDK."""
    path = tmp_path / "relay.toml"
    path.write_text('[devices.lobby]\nsource = "spatius"\n[spatius]\napp_id = "a"\navatar_id = "b"\nregion = "us-west"\n')
    config = load_config(build_parser().parse_args(["--config", str(path)]), {})
    assert config.devices == {"lobby": "spatius"}
    assert config.sources["spatius"] == AvatarKitSettings(sdk="spatius", app_id="a", avatar_id="b", region="us-west")


@pytest.mark.parametrize("text", ['[devices.lobby]\nsource = "spatius"', '[devices]\nlobby = "spatius"', "[devices.lobby]", "[avatarkit]"])
def test_a_source_that_is_not_set_up_is_refused(tmp_path: Path, text: str) -> None:
    """The error names the source."""
    path = tmp_path / "relay.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"devices|avatarkit"):
        load_config(build_parser().parse_args(["--config", str(path)]), {})
