"""Declared settings: a dataclass field is a flag, an environment variable and a key of a TOML file, with one name and one unit.

Precedence: flag, environment, file, default. An empty text counts as unset. An unknown name is refused in the file and, if it has the
program's prefix, in the environment, with the nearest known name; a wrong value is refused with the place where it was set.

A `Section` is the settings of one dataclass. The program's own section has no name; a named one is a table of the file: `app_id` in section
`spatius` is `[spatius] app_id`, `AVATAR_RELAY_SPATIUS_APP_ID` and `--spatius-app-id`.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avatar_relay.errors import ConfigError
from avatar_relay.setting_types import Reader, SettingType

_INJECTED_BY_KUBERNETES = re.compile(r"(.*_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")
MAX_FILE_BYTES = 1 << 20
"""Maximum size of a settings file."""


def setting(default: Any, kind: SettingType, text: str, *, name: str = "") -> Any:
    """Declare a field of a settings dataclass. `text` is its documentation in help and docs.

    `default` is `dataclasses.MISSING` for a required setting. `name` is the user-visible name, if it is not the field's own: the field
    `device_lease_us` in µs is the setting `device_lease_ms`.
    """
    metadata = {"kind": kind, "text": text, "name": name}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a section."""

    name: str
    """The user-visible name: unchanged in the file, in capitals in the environment, as a flag with hyphens."""
    field: str
    """The dataclass field that receives its value."""
    kind: SettingType
    text: str
    default: Any
    """In the field's unit; `dataclasses.MISSING` if the setting is required."""


@dataclass(frozen=True, slots=True)
class Section:
    """The settings that a dataclass declares; `name` is its table in the file, empty for the program's own settings."""

    name: str
    settings: Mapping[str, Setting]
    variables: frozenset[str] = frozenset()
    """Names, as in the environment without the prefix, that are read from the environment only, such as keys."""

    @classmethod
    def of(cls, kind: type[Any], name: str = "", *, variables: Iterable[str] = ()) -> Section:
        """The section declared by dataclass `kind`: its fields made by `setting`."""
        declared = {}
        for field in dataclasses.fields(kind):
            if "kind" in field.metadata:
                said = field.metadata["name"] or field.name
                default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
                declared[said] = Setting(said, field.name, field.metadata["kind"], field.metadata["text"], default)
        return cls(name, declared, frozenset(variables))

    def path(self, setting: str) -> str:
        """The setting's name in the file, with its table."""
        return f"{self.name}.{setting}" if self.name else setting

    def variable(self, setting: str) -> str:
        """The setting's name in the environment, without the program's prefix."""
        return self.path(setting).replace(".", "_").upper()

    def flag(self, setting: str) -> str:
        """The setting's flag."""
        return "--" + self.path(setting).replace(".", "-").replace("_", "-")


@dataclass(frozen=True, slots=True)
class Given:
    """Values set for one section, by dataclass field, and the place where each setting was set, by its name."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]
    is_present: bool
    """Whether the file has the section's table, or any of its settings was set."""

    def make(self, kind: type[Any], **others: Any) -> Any:
        """Make the dataclass with these values. If a check's `ConfigError` begins with a setting's name, the place is added."""
        try:
            return kind(**self.values, **others)
        except ConfigError as error:
            name, separator, rest = str(error).partition(":")
            if not separator or name not in self.origins:
                raise
            raise ConfigError(f"{self.origins[name]}:{rest}") from None


class ProgramSettings:
    """All settings of one program."""

    def __init__(self, prefix: str, sections: Iterable[Section]) -> None:
        """`prefix` begins the program's environment variables, such as `EDGE_CLIENT_`."""
        self.prefix = prefix
        self.sections = tuple(sections)

    def add_flags(self, parser: argparse.ArgumentParser) -> None:
        """Add a flag for each setting. Values are read by `load`, so that all sources produce the same errors."""
        for section in self.sections:
            group = parser.add_argument_group(f"settings of [{section.name}]") if section.name else parser
            for name, one in section.settings.items():
                shown = _shown_default(one)
                text = one.text if not shown else f"{one.text} (default: {shown})"
                destination = _destination(section, name)
                if one.kind.is_switch:
                    group.add_argument(
                        section.flag(name), action=argparse.BooleanOptionalAction, default=None, dest=destination, help=_escaped(text)
                    )
                else:
                    group.add_argument(section.flag(name), metavar=one.kind.metavar, dest=destination, help=_escaped(text))

    def flags_in(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """The settings on a parsed command line, by their names in the file."""
        found = {
            section.path(name): getattr(arguments, _destination(section, name)) for section in self.sections for name in section.settings
        }
        return {path: value for path, value in found.items() if value is not None}

    def load(self, flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None) -> dict[str, Given]:
        """The set values, by section name. Raises `ConfigError`, which names the place and the accepted values."""
        content = {} if file is None else read_toml(file)
        known_tables = {section.name for section in self.sections}
        self.check_environment(environment)
        top = {name: value for name, value in content.items() if name not in known_tables}
        given = {}
        for section in self.sections:
            table = content.get(section.name, {}) if section.name else top
            if not isinstance(table, dict):
                raise ConfigError(f"{file}: {section.name} is not a table; write [{section.name}]")
            given[section.name] = self._given(section, table, flags, environment, file, is_present=section.name in content)
        return given

    def _given(
        self,
        section: Section,
        table: Mapping[str, Any],
        flags: Mapping[str, Any],
        environment: Mapping[str, str],
        file: Path | None,
        *,
        is_present: bool,
    ) -> Given:
        for name in table:
            if name not in section.settings:
                raise ConfigError(f"{file}: {section.path(name)}: no such setting{self._hint(section.path(name), self._paths())}")
        values, origins = {}, {}
        for name, one in section.settings.items():
            found = (
                (f"{file}: {section.path(name)}", table.get(name)),
                (self.prefix + section.variable(name), environment.get(self.prefix + section.variable(name))),
                (section.flag(name), flags.get(section.path(name))),
            )
            for origin, value in found:
                if value is not None and value != "":
                    values[one.field], origins[name] = read_value(one.kind.read, value, origin), origin
        missing = [name for name, one in section.settings.items() if one.default is dataclasses.MISSING and one.field not in values]
        if missing and (values or is_present):
            raise ConfigError(f"{section.path(missing[0])}: must be given: {section.settings[missing[0]].text}")
        return Given(values, origins, bool(values) or is_present)

    def check_environment(self, environment: Mapping[str, str]) -> None:
        """Raise `ConfigError` for a variable that has the prefix but is no setting."""
        known = set(self._variables())
        for variable, value in environment.items():
            if not variable.startswith(self.prefix) or not value or variable in known:
                continue
            rest = variable.removeprefix(self.prefix)
            if _INJECTED_BY_KUBERNETES.fullmatch(rest) or (rest.endswith("PORT") and _SERVICE_URL.match(value)):
                continue
            raise ConfigError(f"{variable}: no such setting{self._hint(variable, known)}")

    def _variables(self) -> Iterator[str]:
        for section in self.sections:
            yield from (self.prefix + section.variable(name) for name in section.settings)
            yield from (self.prefix + name for name in section.variables)

    def _paths(self) -> Iterator[str]:
        for section in self.sections:
            yield from ((section.name,) if section.name else ())
            yield from (section.path(name) for name in section.settings)

    @staticmethod
    def _hint(name: str, known: Iterable[str]) -> str:
        near = difflib.get_close_matches(name, sorted(known), 1)
        return f"; did you mean {near[0]}?" if near else "; docs/settings.md lists all of them"


def read_value(read: Reader, value: object, origin: str) -> Any:
    """Convert a value to its setting's type. Raises `ConfigError`, which names the place and the accepted values."""
    try:
        return read(value)
    except ValueError as error:
        raise ConfigError(f"{origin}: {value!r} cannot be used; it {error}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file, with or without a byte order mark. Raises `ConfigError`."""
    try:
        with path.open("rb") as file:  # may be a pipe, or a device without an end
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(f"config: {path} is larger than {MAX_FILE_BYTES} bytes")
        return tomllib.loads(data.decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"config: {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"config: {path} is not valid TOML: {error}") from error


def _destination(section: Section, name: str) -> str:
    return f"setting {section.path(name)}"


def _shown_default(one: Setting) -> str:
    return "" if one.default is dataclasses.MISSING or one.default is None else one.kind.show(one.default)


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
