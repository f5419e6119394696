"""The contents of an installation: names, folders, files, and which of them a change needs. Pure.

/opt/avatar-relay/versions/V/    a virtual environment, complete if it holds the file `installed`; its units in `units/`
/opt/avatar-relay/current        a symbolic link to the version that runs
/opt/avatar-relay/previous       a symbolic link to the previous version, which `rollback` runs
/opt/avatar-relay/wheels         wheels built on this machine, for the next version
/opt/avatar-relay/cache          pip's downloads
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

OPT = PurePosixPath("opt/avatar-relay")
SETTINGS = PurePosixPath("etc/avatar-relay")
UNITS = PurePosixPath("etc/systemd/system")
BIN = PurePosixPath("usr/local/bin")
USER_UNITS = PurePosixPath("etc/systemd/user")
"""Units of users' managers, for desktops."""
UPDATE_TRIGGER = "update-requested"
"""File in a device's state folder: touching it starts an update of the machine."""
COMMON_EXTRAS = ("discovery", "pairing")
"""Extras with which a device finds its relay and is admitted."""
_KEY = re.compile(r"[a-z][a-z0-9_]*")
_TABLE = re.compile(r"\s*\[")


@dataclass(frozen=True, eq=False)
class MachineRole:
    """A program on a machine: its unit, its user, the groups that the user needs, and its settings file."""

    extras: tuple[str, ...]
    """Extras in pyproject.toml; the first one names the role."""
    unit: str
    user: str
    groups: tuple[str, ...]
    settings: str
    folders: tuple[str, ...]
    """Folders below the root, or the desktop user's home; made by systemd."""
    commands: tuple[str, ...]
    begin: Mapping[str, str]
    """Initial settings of a new file."""
    shipped: str = ""
    """Name of the unit's file in a version, if it differs from the installed name."""
    is_desktop: bool = False
    """The user's manager runs it, in the graphical session."""
    trigger: str = ""
    """A path unit owned by root, whose service installs updates."""

    @property
    def places(self) -> Mapping[str, PurePosixPath]:
        """Installed path of each unit, by the name of its file in a version."""
        places = {self.shipped or self.unit: (USER_UNITS if self.is_desktop else UNITS) / self.unit}
        helpers = (self.trigger, self.trigger.replace(".path", ".service")) if self.trigger else ()
        return places | {helper: UNITS / helper for helper in helpers}


DEVICE = MachineRole(
    ("edge", *COMMON_EXTRAS),
    "edge-client.service",
    "avatar",
    ("audio", "video", "render", "input"),
    "edge.toml",
    ("var/lib/edge-client", "var/cache/edge-client"),
    ("edge-client",),
    {},
    trigger="edge-client-update.path",
)
RELAY = MachineRole(
    ("relay", *COMMON_EXTRAS),
    "relay-server.service",
    "avatar-relay",
    (),
    "relay.toml",
    (),
    ("relay-server", "relayctl"),
    {"listen": "127.0.0.1:52000"},
)
USER_DROP_IN = USER_UNITS / f"{DEVICE.unit}.d/user.conf"
"""Names the user whose session shows the face."""


def desktop_of(user: str) -> MachineRole:
    """The role of a device in a user's graphical session."""
    folders = (".local/state/edge-client", ".config/edge-client", ".cache/edge-client")
    return replace(DEVICE, user=user, groups=(), folders=folders, shipped="edge-client-desktop.service", is_desktop=True, trigger="")


ROLES: Mapping[str, tuple[MachineRole, ...]] = {"device": (DEVICE,), "relay": (RELAY,), "both": (RELAY, DEVICE)}


def extras_of(roles: Iterable[MachineRole]) -> list[str]:
    """Extras to install for the roles."""
    return sorted({extra for role in roles for extra in role.extras})


def version_name(declared: str, files: Mapping[str, bytes], extras: Iterable[str]) -> str:
    """Name a version by its content, so that a clone and an unpacked release of the same sources match: `0.1.0-edge-1a2b3c4d`."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path}\0{len(files[path])}\0".encode() + files[path])
    return f"{declared}-{'-'.join(sorted(extras))}-{digest.hexdigest()[:8]}"


def typed(text: str) -> object:
    """Parse a value from a command line: true and false, integers, else text."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else text


def with_settings(text: str, values: Mapping[str, object]) -> str:
    """Return the text of a TOML file with these settings in the program's own table; other lines and settings with None are unchanged."""
    lines = text.split("\n")[:-1] if text.endswith("\n") else text.split("\n") if text else []
    own = next((number for number, line in enumerate(lines) if _TABLE.match(line)), len(lines))
    for key, value in values.items():
        if value is None:
            continue
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key} is no setting")
        line = f"{key} = {_toml(value)}"
        places = [number for number in range(own) if re.match(rf"\s*{key}\s*=", lines[number])]
        if places:
            if lines[places[0]].split("#")[0].strip() != line:
                lines[places[0]] = line
        else:
            lines.insert(own, line)
            own += 1
    return "".join(f"{line}\n" for line in lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    return f'"{"".join(_escaped(character) for character in str(value))}"'


def _escaped(character: str) -> str:
    """Escape a character for a basic string of TOML."""
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def to_remove(versions: Sequence[str], kept: Iterable[str | None]) -> list[str]:
    """Versions that neither run nor are needed for a rollback."""
    return sorted(set(versions) - set(kept))
