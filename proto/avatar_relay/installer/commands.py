"""Puts avatar-relay onto this machine, upgrades it, goes back, removes it.

`install` and `upgrade` run the release that this command belongs to: a clone, an unpacked release, or a wheel that was installed. An
upgrade tries the new version (edge-client self-test), runs it, looks at it for a minute, and goes back by itself if it is not ready
within 30 s, ends, or loses the sound or the face that ran before. A second run with nothing new changes nothing.
`update` does the same with the newest release of the index that the setting update_index names, in /etc/avatar-relay/edge.toml.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from avatar_relay.addresses import split_address
from avatar_relay.command import EXIT_INTERRUPTED, CommandLine, one_line
from avatar_relay.errors import ConfigError
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.installer.changes import Changes, TrialLimits
from avatar_relay.installer.machine import Machine
from avatar_relay.installer.packages import check_user, need_debian, need_packages, need_user
from avatar_relay.installer.plan import DEVICE, OPT, RELAY, ROLES, SETTINGS, MachineRole, desktop_of, typed, with_settings
from avatar_relay.installer.process import InstallError, InstallInterrupted, interruptible, only_one, run
from avatar_relay.installer.release import own_release
from avatar_relay.installer.update import newest_release


def parser(program: str, role: str) -> argparse.ArgumentParser:
    """Make the command line of a program that installs `role` unless the options name another one."""
    line = CommandLine(prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = ("install", "upgrade", "update", "rollback", "uninstall")
    line.add_argument("verb", nargs="?", choices=verbs, default="install", help="default: install")
    line.add_argument("--role", choices=ROLES, help=f"what this machine is (default: what is installed, else {role})")
    line.add_argument("--desktop", metavar="USER", help="a device that this user's graphical session shows, not the console")
    line.add_argument("--name", metavar="ID", help="name of this device (default: the machine's)")
    line.add_argument("--relay", metavar="HOST:PORT", help="the relay to attach to")
    line.add_argument("--card", metavar="NAME", help="the sound card, as `edge-client devices` lists it (default: ALSA's)")
    line.add_argument("--rotation", type=int, choices=(0, 90, 180, 270), help="how far the screen is turned, in degrees clockwise")
    line.add_argument("--listen", metavar="HOST:PORT", help="where a relay listens (a new one: on this machine only)")
    line.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any other setting of the device, such as headless=true"
    )
    line.add_argument("--purge", action="store_true", help="uninstall: remove settings, state and users too")
    line.add_argument("--settle", type=_seconds, default=TrialLimits.settle_s, metavar="S", help="how long a new version is looked at (60)")
    line.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="a folder that stands for /: no packages, no users")
    line.add_argument("--systemctl", default="systemctl", metavar="PROGRAM", help="the service manager's command")
    return line


def main(arguments: Sequence[str], *, program: str, role: str) -> int:
    """Run the command; returns the exit status: 0 done, 1 not done, with the reason on standard error in one line, 130 interrupted."""
    options = parser(program, role).parse_args(arguments)
    try:
        with interruptible():
            machine = Machine(options.root.resolve(), options.systemctl)
            if machine.is_real and os.geteuid() != 0:
                raise InstallError(f"this changes the system: sudo {program}")
            with only_one(machine.root, say):
                _do(options, machine, role)
    except InstallInterrupted as signal:
        print(f"{program}: error: interrupted by {signal}; the same command finishes what was begun", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (InstallError, OSError) as error:
        if isinstance(error, InstallError) and error.output:
            print(error.output, file=sys.stderr)
        print(f"{program}: error: {one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


def say(text: str) -> None:
    """Print a step for the person."""
    print(f"==> {text}", flush=True)


def _do(options: argparse.Namespace, machine: Machine, role: str) -> None:
    desktop = desktop_of(options.desktop or machine.installed_desktop())
    installed = [one for one in (RELAY, DEVICE, desktop) if one.user and machine.is_installed(one)]
    wanted = ROLES[options.role] if options.role else installed or ROLES[role]
    leaving = []
    if options.desktop:
        wanted = (desktop, *(one for one in wanted if one is not DEVICE))
        leaving = [one for one in installed if one is DEVICE]
    elif desktop in installed:
        wanted = [one for one in wanted if one is not DEVICE]
    roles = tuple(one for one in dict.fromkeys((*installed, *wanted)) if one not in leaving)
    _check_flags(options, roles)
    changes = Changes(machine, roles, TrialLimits(settle_s=options.settle), say, leaving)
    match options.verb:
        case "install" | "upgrade" | "update":
            if options.verb != "install" and machine.linked("current") is None:
                raise InstallError(f"nothing is installed here; leave out `{options.verb}`")
            _install(options, machine, roles, changes, is_new=set(roles) != set(installed))
        case "rollback":
            say(f"{changes.roll_back()} runs")
        case "uninstall":
            everything = (RELAY, DEVICE, *([desktop] if desktop.user else []))  # also for an installation that was interrupted
            machine.remove(everything, purge=options.purge)
            say("removed" if options.purge else f"removed; settings and state are left in /{SETTINGS} and /var/lib (--purge removes them)")


def _check_flags(options: argparse.Namespace, roles: Sequence[MachineRole]) -> None:
    """Check what can be checked before anything is installed. Raises `InstallError`."""
    of_device = {"--name": options.name, "--relay": options.relay, "--card": options.card, "--rotation": options.rotation}
    of_device |= {"--set": options.set or None}
    given = {flag: value for flag, value in (of_device | {"--listen": options.listen}).items() if value is not None}
    if options.verb in ("update", "rollback", "uninstall") and given:
        raise InstallError(f"{options.verb} changes no settings: leave out {', '.join(given)}")
    if options.purge and options.verb != "uninstall":
        raise InstallError(f"--purge belongs to uninstall, not to {options.verb}")
    if options.listen is not None and RELAY not in roles:
        raise InstallError("--listen is a setting of a relay, and none is installed here: add --role both")
    if (own := [flag for flag in given if flag in of_device]) and all(role is RELAY for role in roles):
        raise InstallError(f"{', '.join(own)}: settings of a device, and none is installed here: add --role both")
    if options.name is not None and not is_valid_id(options.name):
        raise InstallError(f"--name: {options.name[:80]!r} is not {ID_RULE}")
    try:
        if options.listen is not None:
            split_address(options.listen, "--listen", port_zero=True)
        if options.relay is not None:
            split_address(options.relay, "--relay")
    except ConfigError as error:
        raise InstallError(str(error)) from error


def _install(options: argparse.Namespace, machine: Machine, roles: Sequence[MachineRole], changes: Changes, *, is_new: bool) -> None:
    machine.need_writable()
    for role in roles if machine.is_real else ():
        check_user(role)
    if options.verb == "update":
        wanted = {role: _settings(role, options, machine) for role in roles}
        release = newest_release(machine, roles)
    else:
        there = need_debian() if machine.is_real else set()
        wanted = {role: _settings(role, options, machine) for role in roles}
        try:
            release = own_release(roles)
        except ValueError as error:
            raise InstallError(str(error)) from error
        if machine.is_real:
            need_packages(there, say)
            for role in roles:
                need_user(role)
    if not machine.is_complete(release.name):
        say(f"building {release.name} in /{OPT}; some minutes on a small machine")
        machine.build(release)
    settings = {role: text for role, text in wanted.items() if text != machine.read_settings(role)}
    for role, text in settings.items():
        _check(machine, release.name, role, text)
    if machine.linked("current") != release.name or machine.unfinished is not None:
        for role in roles:
            if role is not RELAY:
                say("trying it: edge-client self-test")
                machine.self_test(release.name, role)
        say("running it, and looking whether it stays")
        changes.to_version(release.name, settings)
    elif settings or is_new or machine.units_differ(release.name, roles):
        changes.restart(release.name, settings)
    say(f"{release.name} is installed")


def _settings(role: MachineRole, options: argparse.Namespace, machine: Machine) -> str:
    """The new content of the settings file."""
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
    """Ask for settings at the first installation; an empty answer leaves the default."""
    cards = Path("/proc/asound/cards")
    print(cards.read_text(encoding="utf-8", errors="replace") if cards.is_file() else "This machine has no sound card.")
    questions = {
        "device_id": f"Name of this device [{platform.node()}]: ",
        "relay": "Relay, HOST:PORT [the one it is paired with, or finds]: ",
        "audio_device": "Sound card, the beginning of its name [ALSA's default]: ",
        "rotation": "Screen turned by 0, 90, 180 or 270 degrees clockwise [0]: ",
    }
    try:
        return {key: typed(answer) for key, question in questions.items() if (answer := input(question).strip())}
    except EOFError:
        raise InstallError("the questions were not answered to the end, and nothing was changed; flags answer them: --help") from None


def _check(machine: Machine, name: str, role: MachineRole, text: str) -> None:
    """Check the settings with the new version before they are put in place. Raises `InstallError`."""
    if role is RELAY:
        return
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        run(machine.version(name) / "bin/edge-client", "version", "--config", file.name, what="the settings were not taken")
