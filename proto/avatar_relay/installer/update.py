"""The newest release in the index that the device's settings name."""

from __future__ import annotations

import platform
import tomllib
import urllib.error
import urllib.request
from collections.abc import Sequence

from avatar_relay.installer.index import MAX_LOCK_BYTES, check_index, lock_place, locked_version
from avatar_relay.installer.machine import Machine, python_tag
from avatar_relay.installer.plan import DEVICE, OPT, SETTINGS, MachineRole, version_name
from avatar_relay.installer.process import InstallError
from avatar_relay.installer.release import PROJECT, SoftwareRelease

FETCH_S = 60


def newest_release(machine: Machine, roles: Sequence[MachineRole]) -> SoftwareRelease:
    """Return the newest release in the index for this machine; pip verifies each package by its hash. Raises `InstallError`."""
    index = _index_of(machine)
    address = f"{index}/{lock_place(python_tag(), platform.machine())}"
    try:
        with urllib.request.urlopen(address, timeout=FETCH_S) as answer:
            lock = answer.read(MAX_LOCK_BYTES + 1)
        if len(lock) > MAX_LOCK_BYTES:
            raise ValueError(f"it has more than {MAX_LOCK_BYTES} bytes")
        version = locked_version(lock.decode("ascii"), PROJECT)
    except (OSError, ValueError) as error:
        raise InstallError(f"update_index: {address}: {error}") from error
    name = version_name(version, {"lock": lock}, [role.extras[0] for role in roles])
    path = machine.path(OPT / "cache" / "lock.txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lock)
    pinned = ("--isolated", "--require-hashes", "--only-binary=:all:")
    return SoftwareRelease(name, (*pinned, f"--index-url={index}/simple", f"--requirement={path}"))


def _index_of(machine: Machine) -> str:
    """Return the index address. Only root can write the settings read here; settings changed remotely are in another file."""
    place = f"/{SETTINGS / DEVICE.settings}"
    try:
        index = check_index(str(tomllib.loads(machine.read_settings(DEVICE) or "").get("update_index", "")))
    except ValueError as error:
        raise InstallError(f"{place}: update_index: {error}") from error
    if not index:
        raise InstallError(f"{place}: update_index is not set, so there is nowhere to update from")
    return index
