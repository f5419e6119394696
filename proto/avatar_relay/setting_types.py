"""Types of settings: how a value is read from text or TOML, how a default is shown, and its name in help."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

Reader = Callable[[object], Any]
"""Converts text (flag, environment) or a TOML value. Raises `ValueError` whose text states the accepted values."""

_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _show(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class SettingType:
    """How a setting's value is read and shown."""

    read: Reader
    metavar: str
    """Name of the value in help: `HOST:PORT`, `MS`."""
    takes: str
    """The accepted values in words, for the documentation."""
    show: Callable[[Any], str] = _show
    """Formats the value as a user would write it."""
    is_switch: bool = False
    """On or off: its flag has a `--no-…` twin and no value."""


def text(metavar: str = "TEXT") -> SettingType:
    """Any text."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError("takes text")
        return value

    return SettingType(read, metavar, "text")


def parsed(read_text: Callable[[str], Any], metavar: str, takes: str) -> SettingType:
    """Text that `read_text` checks; it raises `ValueError` whose text states the accepted values. The value is the text itself."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"takes {takes}")
        read_text(value)
        return value

    return SettingType(read, metavar, takes)


def choice(*choices: str) -> SettingType:
    """One of several words; for the members of a `StrEnum`, the member."""
    known = {str(one): one for one in choices}

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"takes one of {', '.join(choices)}")
        return known[value]

    return SettingType(read, "|".join(choices), ", ".join(choices))


def whole_number(low: int, high: int, unit: str = "", *, scale: int = 1) -> SettingType:
    """A whole number from `low` to `high`. `scale`: field units per setting unit (1,000 for ms into µs)."""
    takes = f"a whole number from {low} to {high}{' ' if unit else ''}{unit}"

    def read(value: object) -> int:
        if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value))):
            raise ValueError(f"takes {takes}")
        number = int(value)
        if not low <= number <= high:
            raise ValueError(f"takes {takes}")
        return number * scale

    return SettingType(read, unit.upper() or "N", takes, lambda value: str(value // scale))


def number(low: float, high: float, unit: str = "") -> SettingType:
    """A finite number from `low` to `high`."""
    takes = f"a number from {low:g} to {high:g}{' ' if unit else ''}{unit}"

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"takes {takes}")
        try:
            found = float(value)
        except (ValueError, OverflowError):
            found = math.nan
        if not low <= found <= high:
            raise ValueError(f"takes {takes}")
        return found

    return SettingType(read, unit.upper() or "N", takes)


def switch() -> SettingType:
    """On or off."""

    def read(value: object) -> bool:
        if isinstance(value, bool):
            return value
        if not isinstance(value, str) or value.lower() not in _SWITCH:
            raise ValueError("takes true or false")
        return _SWITCH[value.lower()]

    return SettingType(read, "", "true or false", lambda value: "yes" if value else "no", is_switch=True)


def path(metavar: str = "FILE") -> SettingType:
    """A path; `~` is the user's home."""

    def read(value: object) -> Path:
        if not isinstance(value, str | Path) or "\0" in str(value):
            raise ValueError("takes a path")
        try:
            return Path(value).expanduser()
        except RuntimeError as error:  # no HOME, or no such user
            raise ValueError(f"takes a path; ~ cannot be resolved here ({error})") from error

    return SettingType(read, metavar, "a path")


def size() -> SettingType:
    """Width and height in pixels."""
    takes = "WIDTHxHEIGHT in pixels, such as 800x480, each side from 64 to 8192"

    def read(value: object) -> tuple[int, int]:
        match = re.fullmatch(r"([0-9]{2,4})x([0-9]{2,4})", value) if isinstance(value, str) else None
        sides = (int(match[1]), int(match[2])) if match else (0, 0)
        if not all(64 <= side <= 8192 for side in sides):
            raise ValueError(f"takes {takes}")
        return sides

    return SettingType(read, "WxH", takes, lambda value: "x".join(map(str, value)))


def networks() -> SettingType:
    """IP addresses and networks; a list in a file."""
    takes = "IP addresses and networks, separated by commas, such as 10.0.0.7,192.168.3.0/24"

    def read(value: object) -> tuple[str, ...]:
        entries = [entry.strip() for entry in value.split(",")] if isinstance(value, str) else value
        if not isinstance(entries, list | tuple) or not all(isinstance(entry, str) for entry in entries):
            raise ValueError(f"takes {takes}")
        try:
            return tuple(str(ip_network(entry, strict=False)) for entry in entries if entry)
        except ValueError:
            raise ValueError(f"takes {takes}") from None

    return SettingType(read, "ADDRESSES", takes, ",".join)


def addresses() -> SettingType:
    """One address or several."""
    return words("HOST:PORT", "HOST:PORT, or several separated by commas")


def words(metavar: str, takes: str) -> SettingType:
    """One or more words, separated by commas; a file may also hold a list."""

    def read(value: object) -> tuple[str, ...]:
        entries = [entry.strip() for entry in value.split(",")] if isinstance(value, str) else value
        if not isinstance(entries, list | tuple) or not all(isinstance(entry, str) and entry for entry in entries) or not entries:
            raise ValueError(f"takes {takes}")
        return tuple(entries)

    return SettingType(read, f"{metavar},…", takes, ",".join)


def structured(check: Callable[[Any], Any], metavar: str, takes: str) -> SettingType:
    """A TOML table or array; an inline TOML value in a flag or an environment variable.

    `check` converts the parsed value, and raises `ValueError` whose text states the accepted values.
    """

    def read(value: object) -> Any:
        if isinstance(value, str):
            try:
                value = tomllib.loads(f"value = {value}\n")["value"]
            except (tomllib.TOMLDecodeError, RecursionError):
                raise ValueError(f"takes {takes}") from None
        return check(value)

    return SettingType(read, metavar, takes, lambda value: "" if not value else str(value))


def table_of_texts(takes: str) -> SettingType:
    """A table of texts by name."""

    def check(value: Any) -> dict[str, str]:
        if not isinstance(value, Mapping) or not all(isinstance(entry, str) for entry in value.values()):
            raise ValueError(f"takes {takes}")
        return dict(value)

    return structured(check, "TABLE", takes)


def table_of_lists(takes: str) -> SettingType:
    """A table of lists of texts by name."""

    def check(value: Any) -> dict[str, tuple[str, ...]]:
        if not isinstance(value, Mapping):
            raise ValueError(f"takes {takes}")
        for entry in value.values():
            if not isinstance(entry, list) or not all(isinstance(member, str) for member in entry):
                raise ValueError(f"takes {takes}")
        return {name: tuple(entry) for name, entry in value.items()}

    return structured(check, "TABLE", takes)
