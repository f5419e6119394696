"""Puts avatar-relay onto this machine, upgrades it, goes back, removes it.

`scripts/install` calls it, when Debian's packages are there.

`install` and `upgrade` run the sources that this command lies in: a clone, or an unpacked release. An upgrade tries the new version
(edge-client self-test), runs it, looks at it for a minute, and goes back by itself if it is not ready within 30 s, ends, or loses the
sound or the face that ran before. A second run with nothing new changes nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from scripts.installer.changes import Changes, Limits
from scripts.installer.machine import InstallError, Machine, run
from scripts.installer.plan import DEVICE, OPT, RELAY, ROLES, SETTINGS, UNITS, Role, read_sources, typed, version_name, with_settings

HERE = Path(__file__).resolve().parents[2]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(prog="scripts/install", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = ("install", "upgrade", "rollback", "uninstall")
    line.add_argument("verb", nargs="?", choices=verbs, default="install", help="default: install")
    line.add_argument("--role", choices=ROLES, help="what this machine is (default: what is installed, else device)")
    line.add_argument("--name", metavar="ID", help="name of this device (default: the machine's)")
    line.add_argument("--relay", metavar="HOST:PORT", help="the relay to attach to")
    line.add_argument("--card", metavar="NAME", help="the sound card, as `edge-client devices` lists it (default: ALSA's)")
    line.add_argument("--rotation", type=int, choices=(0, 90, 180, 270), help="how far the screen is turned, in degrees clockwise")
    line.add_argument("--listen", metavar="HOST:PORT", help="where a relay listens (a new one: on this machine only)")
    line.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any other setting of the device, such as headless=true"
    )
    line.add_argument("--purge", action="store_true", help="uninstall: remove settings, state and users too")
    line.add_argument("--settle", type=float, default=Limits.settle_s, metavar="S", help="how long a new version is looked at (60)")
    line.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="a folder that stands for /: no packages, no users")
    line.add_argument("--systemctl", default="systemctl", metavar="PROGRAM", help="the service manager's command")
    return line


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was asked; the exit status: 0 done, 1 not done, with the reason on standard error."""
    options = parser().parse_args(arguments)
    machine = Machine(options.root.resolve(), options.systemctl)
    try:
        if machine.is_real and os.geteuid() != 0:
            raise InstallError("this changes the system: sudo scripts/install")
        _do(options, machine)
    except (InstallError, OSError) as error:
        print(f"scripts/install: error: {error}", file=sys.stderr)
        return 1
    return 0


def say(text: str) -> None:
    """A step, for the person."""
    print(f"==> {text}", flush=True)


def _do(options: argparse.Namespace, machine: Machine) -> None:
    installed = tuple(role for role in (RELAY, DEVICE) if machine.path(UNITS / role.unit).is_file())
    roles = ROLES[options.role] if options.role else installed or ROLES["device"]
    roles = tuple(dict.fromkeys((*installed, *roles)))
    changes = Changes(machine, roles, Limits(settle_s=options.settle), say)
    match options.verb:
        case "install" | "upgrade":
            if options.verb == "upgrade" and machine.linked("current") is None:
                raise InstallError("nothing is installed here; leave out `upgrade`")
            _install(options, machine, roles, changes, is_new=set(roles) != set(installed))
        case "rollback":
            say(f"{changes.roll_back()} runs")
        case "uninstall":
            machine.remove(roles, purge=options.purge)
            say("removed" if options.purge else f"removed; settings and state are left in /{SETTINGS} and /var/lib (--purge removes them)")


def _install(options: argparse.Namespace, machine: Machine, roles: Sequence[Role], changes: Changes, *, is_new: bool) -> None:
    wanted = {role: _settings(role, options, machine) for role in roles}
    name = version_of(roles)
    for role in roles:
        machine.need_user(role)
    if not machine.is_complete(name):
        say(f"building {name} in /{OPT}; some minutes on a small machine")
        machine.build(name, HERE, [role.extra for role in roles])
    changed = False
    for role, text in wanted.items():
        if text != machine.read_settings(role):
            _check(machine, name, role, text)
            machine.write_settings(role, text)
            changed = True
    if machine.linked("current") != name:
        if DEVICE in roles:
            say("trying it: edge-client self-test")
            machine.self_test(name, DEVICE)
        say("running it, and looking whether it stays")
        changes.to_version(name)
    elif changed or is_new or any([machine.put_unit(name, role) for role in roles]):
        changes.restart(name)
    say(f"{name} is installed")


def version_of(roles: Sequence[Role]) -> str:
    """The version that these sources are, for some roles."""
    declared = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return version_name(declared, read_sources(HERE), [role.extra for role in roles])


def _settings(role: Role, options: argparse.Namespace, machine: Machine) -> str:
    """The file as it is to be."""
    text = machine.read_settings(role)
    if role is RELAY:
        return with_settings(
            text or "", {"listen": options.listen} if text is not None else {**RELAY.begin, **_given(listen=options.listen)}
        )
    given = _given(device_id=options.name, relay=options.relay, audio_device=options.card, rotation=options.rotation)
    for pair in options.set:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InstallError(f"--set {pair}: write KEY=VALUE")
        given[key] = typed(value)
    if text is None and not given and sys.stdin.isatty():
        given = _asked()
    try:
        return with_settings(text or "", given)
    except ValueError as error:
        raise InstallError(f"--set: {error}; docs/settings.md lists all of them") from error


def _given(**values: object) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}


def _asked() -> dict[str, object]:
    """What a person answers at the first installation; an empty answer leaves the default."""
    cards = Path("/proc/asound/cards")
    print(cards.read_text(encoding="utf-8", errors="replace") if cards.is_file() else "This machine has no sound card.")
    questions = {
        "device_id": f"Name of this device [{platform.node()}]: ",
        "relay": "Relay, HOST:PORT [the one it is paired with, or finds]: ",
        "audio_device": "Sound card, the beginning of its name [ALSA's default]: ",
        "rotation": "Screen turned by 0, 90, 180 or 270 degrees clockwise [0]: ",
    }
    return {key: typed(answer) for key, question in questions.items() if (answer := input(question).strip())}


def _check(machine: Machine, name: str, role: Role, text: str) -> None:
    """Have the new version read the settings before they are put in place. Raises `InstallError`."""
    if role is not DEVICE:
        return
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        run(machine.version(name) / "bin/edge-client", "version", "--config", file.name, what="the settings were not taken")


if __name__ == "__main__":
    sys.exit(main())
