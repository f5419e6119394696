"""Declared settings: one name in three places, unknown names, empty values, files as written by editors and clusters."""

# ruff: noqa: RUF009 - `setting` makes a dataclass field
from __future__ import annotations

import argparse
import re
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

import pytest

from avatar_relay import setting_types as takes
from avatar_relay.errors import ConfigError
from avatar_relay.settings import ProgramSettings, Section, Setting, setting
from edge_client.config import SETTINGS as EDGE_SETTINGS
from relay_server.cli import relay_settings
from relay_server.sources.plugins import installed_plugins

PROGRAMS = {"relay-server": relay_settings(installed_plugins()), "edge-client": EDGE_SETTINGS}
SAMPLES = {
    "groups": '{hall = ["left", "right"]}',
    "devices": '{lobby = "local"}',
    "speech_voices": '{lobby = "de"}',
    "emotions": "[{at_s = 1.5, joy = 0.5}]",
    "sleep_hours": "22:00-07:00",
    "update_index": "https://releases.example.org/avatar-relay",
    "head": "kofi",
    "skin_colour": "#8d5524",
    "hair_colour": "#101010",
    "eye_colour": "#5b3a1e",
    "background_colour": "#304030",
    "size": "1024x600",
    "render_size": "1024x600",
    "proxies": "192.0.2.0/24",
}
"""Values of settings that accept more than a word or a number."""


def sample(name: str, one: Setting) -> str:
    """A valid value that is not the default, as text."""
    if one.kind.is_switch:
        return "false" if one.default else "true"
    if name in SAMPLES:
        return SAMPLES[name]
    if match := re.match(r"a (?:whole )?number from (\S+) to (\S+)", one.kind.takes):
        return next(text for text in match.groups() if one.kind.read(text) != one.default)
    if "|" in one.kind.metavar and "HOST" not in one.kind.metavar:
        return next(word for word in one.kind.metavar.split("|") if word != one.default)
    return "/tmp/some" if one.kind.takes == "a path" else "some"


def in_file(one: Setting, text: str) -> str:
    """The sample as TOML."""
    plain = one.kind.is_switch or one.kind.takes.startswith(("a number", "a whole number")) or text[0] in "{["
    return text if plain else f'"{text}"'


EVERY = [(program, section, name) for program, settings in PROGRAMS.items() for section in settings.sections for name in section.settings]


@pytest.mark.parametrize(("program", "section", "name"), EVERY, ids=[f"{program} {section.path(name)}" for program, section, name in EVERY])
def test_a_setting_can_be_given_in_three_ways(program: str, section: Section, name: str, tmp_path: Path) -> None:
    """As a flag, as an environment variable and as a key of the file: the same name and unit, the same value."""
    settings, one = PROGRAMS[program], section.settings[name]
    text = sample(name, one)
    required = {section.path(other): "x" for other, it in section.settings.items() if it.default is MISSING and other != name}
    parser = argparse.ArgumentParser()
    settings.add_flags(parser)
    flag = [section.flag(name)] if text == "true" else [section.flag(name).replace("--", "--no-", 1)] if text == "false" else []
    arguments = parser.parse_args(flag or [section.flag(name), text])
    table = f"[{section.name}]\n" if section.name else ""
    file = tmp_path / "settings.toml"
    file.write_text(f"{table}{name} = {in_file(one, text)}\n")
    by_flag = settings.load(required | settings.flags_in(arguments), {}, None)
    by_variable = settings.load(required, {settings.prefix + section.variable(name): text}, None)
    by_file = settings.load(required, {}, file)
    values = [given[section.name].values[one.field] for given in (by_flag, by_variable, by_file)]
    assert values[0] == values[1] == values[2] != one.default


@dataclass(frozen=True, kw_only=True)
class Oven:
    """Settings of an oven."""

    heat: int = setting(180, takes.whole_number(50, 250, "C"), "temperature")
    fan: bool = setting(False, takes.switch(), "let the fan run")
    recipe: Path | None = setting(None, takes.path(), "what to bake")

    def __post_init__(self) -> None:
        if self.fan and self.heat > 200:
            raise ConfigError("heat: too hot with the fan")


SETTINGS = ProgramSettings("OVEN_", [Section.of(Oven, variables=("CONFIG", "GRILL_API_KEY"))])


def load(tmp_path: Path, toml: bytes = b"", flags: dict[str, Any] | None = None, environment: dict[str, str] | None = None) -> Oven:
    """Load an oven from its file, flags and environment."""
    file = tmp_path / "oven.toml"
    file.write_bytes(toml)
    oven: Oven = SETTINGS.load(flags or {}, environment or {}, file)[""].make(Oven)
    return oven


@pytest.mark.parametrize(
    ("program", "variable", "hint"),
    [
        ("relay-server", "AVATAR_RELAY_LISTNE", "AVATAR_RELAY_LISTEN"),
        ("relay-server", "AVATAR_RELAY_SPATIUS_APPID", "AVATAR_RELAY_SPATIUS_APP_ID"),
        ("edge-client", "EDGE_CLIENT_RELAI", "EDGE_CLIENT_RELAY"),
    ],
)
def test_a_misspelt_variable_is_refused(program: str, variable: str, hint: str) -> None:
    """The error names the likely intended name."""
    with pytest.raises(ConfigError, match=f"^{variable}: no such setting; did you mean {hint}\\?$"):
        PROGRAMS[program].load({}, {variable: "x"}, None)


def test_what_a_cluster_injects_is_no_setting(tmp_path: Path) -> None:
    """Kubernetes describes a service named `oven` by variables with our prefix; keys of sources are read by the sources."""
    injected = {
        "OVEN_SERVICE_HOST": "10.0.0.1",
        "OVEN_SERVICE_PORT": "80",
        "OVEN_SERVICE_PORT_HTTP": "80",
        "OVEN_PORT": "tcp://10.0.0.1:80",
        "OVEN_PORT_80_TCP": "tcp://10.0.0.1:80",
        "OVEN_PORT_80_TCP_PROTO": "tcp",
        "OVEN_PORT_80_TCP_PORT": "80",
        "OVEN_PORT_80_TCP_ADDR": "10.0.0.1",
        "OVEN_GRILL_SERVICE_HOST": "10.0.0.2",
        "OVEN_GRILL_API_KEY": "secret",
        "OVENS": "3",
    }
    assert load(tmp_path, environment=injected) == Oven()
    with pytest.raises(ConfigError, match="OVEN_PORT: no such setting"):
        load(tmp_path, environment={"OVEN_PORT": "80"})


def test_an_empty_value_is_unset(tmp_path: Path) -> None:
    """In every place, even below an unknown name."""
    assert load(tmp_path, b'recipe = ""', {"heat": ""}, {"OVEN_HEAT": "", "OVEN_HAET": ""}) == Oven()


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfheat = 200\r\nfan = true\r\n", b"heat = 200\nfan = 'yes'\n"])
def test_files_of_any_editor_are_read(tmp_path: Path, content: bytes) -> None:
    """With a byte order mark and CRLF, and switches as words."""
    assert load(tmp_path, content) == Oven(heat=200, fan=True)


def test_errors_name_the_place(tmp_path: Path) -> None:
    """Flag, variable or key; also for errors that involve several settings."""
    with pytest.raises(ConfigError, match=r"^--heat: 'hot' cannot be used; it takes a whole number from 50 to 250 C$"):
        load(tmp_path, flags={"heat": "hot"})
    with pytest.raises(ConfigError, match=r"^OVEN_FAN: 'maybe' cannot be used; it takes true or false$"):
        load(tmp_path, environment={"OVEN_FAN": "maybe"})
    with pytest.raises(ConfigError, match=r"oven\.toml: haet: no such setting; did you mean heat\?$"):
        load(tmp_path, b"haet = 200")
    with pytest.raises(ConfigError, match=r"^OVEN_HEAT: too hot with the fan$"):
        load(tmp_path, b"fan = true", environment={"OVEN_HEAT": "240"})


@pytest.mark.parametrize("content", [b"heat = ", b"\xff\xfe", b"a = " + b"[" * 5_000])
def test_files_that_are_not_toml_are_refused(tmp_path: Path, content: bytes) -> None:
    """The error contains their path."""
    with pytest.raises(ConfigError, match=r"^config: .*oven\.toml is not valid TOML"):
        load(tmp_path, content)
