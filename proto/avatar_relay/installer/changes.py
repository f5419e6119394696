"""Changes to another version and back, and progress messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from avatar_relay.installer.machine import Machine
from avatar_relay.installer.plan import MachineRole, to_remove
from avatar_relay.installer.process import InstallError
from avatar_relay.installer.trial import Trial, TrialVerdict
from avatar_relay.installer.unfinished import UnfinishedChange

LOOK_S = 0.25


@dataclass(frozen=True)
class TrialLimits:
    """Time limits for a new release: to become ready, and to be observed afterwards."""

    ready_s: float = 30.0
    settle_s: float = 60.0


class Changes:
    """Changes a machine for its roles. `say` is called with a line for each step.

    A change is recorded before it begins: a run that is killed at any point leaves an `UnfinishedChange`, which the next run finishes.
    """

    def __init__(
        self,
        machine: Machine,
        roles: Sequence[MachineRole],
        limits: TrialLimits,
        say: Callable[[str], None],
        leaving: Sequence[MachineRole] = (),
    ) -> None:
        """`leaving`: roles whose units are removed by the next change."""
        self._machine = machine
        self._roles = tuple(roles)
        self._limits = limits
        self._say = say
        self._leaving = tuple(leaving)

    def to_version(self, name: str, settings: Mapping[MachineRole, str] | None = None) -> None:
        """Run a complete version with new texts of settings files. If it does not run as well, return to the previous version and settings,
        and raise `InstallError`."""
        machine = self._machine
        parts = {role: machine.service(role).running_parts for role in self._roles if machine.runs(role)}
        change = self._begin(settings or {}, machine.linked("current"))
        before = change.before if change.before != name else None
        started = self._flip(name, change)
        if absent := [role.unit for role in self._roles if not machine.runs(role)]:
            self._say(f"no service manager runs here for {' and '.join(absent)}: it starts with the machine, or the session")
        reason = self._watch({role: self._trial(self._limits.settle_s, parts[role]) for role in started})
        if not reason:
            self._settle(name, before)
            machine.end_change()
            return
        if before is None or not machine.is_complete(before):
            raise InstallError(f"{reason}. There is no version to go back to; journalctl and `edge-client doctor` say more")
        self._say(f"{reason}; going back to {before}")
        again = self._take_back(change, before)
        machine.remove_version(name)
        raise InstallError(f"{name} was taken back: {reason}. {again or f'{before} runs again'}")

    def restart(self, name: str, settings: Mapping[MachineRole, str] | None = None) -> None:
        """Restart the same version, for other settings or units. Raises `InstallError` if it is not ready in time."""
        change = self._begin(settings or {}, self._machine.linked("previous"))
        if reason := self._watch({role: self._trial() for role in self._flip(name, change)}):
            raise InstallError(f"{reason}; journalctl and `edge-client doctor` say more")
        self._machine.end_change()

    def roll_back(self) -> str:
        """Run the previous version, and return its name: after an interrupted change, the one before it, with its settings. Raises
        `InstallError` if there is none, or it is not ready in time."""
        machine = self._machine
        current, unfinished = machine.linked("current"), machine.unfinished
        previous = unfinished.before if unfinished is not None else machine.linked("previous")
        if previous is None or not machine.is_complete(previous):
            raise InstallError("there is no version to go back to")
        if reason := self._take_back(unfinished or self._begin({}, previous), previous):
            raise InstallError(f"{reason}; journalctl and `edge-client doctor` say more")
        if current != previous:
            machine.link("previous", current)
        return previous

    def _begin(self, settings: Mapping[MachineRole, str], before: str | None) -> UnfinishedChange:
        """Record a change, and write the new settings; returns the record. `before`: the version to go back to, unless an interrupted
        change has recorded one."""
        machine, unfinished = self._machine, self._machine.unfinished
        wanted = [role.unit for role in self._roles if machine.has_manager and machine.is_wanted(role)]
        replaced = {role.settings: machine.read_settings(role) for role in settings}
        if unfinished is not None:
            wanted += [unit for unit in unfinished.wanted if unit not in wanted]
            replaced |= unfinished.settings
        change = UnfinishedChange(unfinished.before if unfinished is not None else before, tuple(wanted), replaced)
        machine.begin_change(change)
        for role, text in settings.items():
            machine.write_settings(role, text)
        return change

    def _take_back(self, change: UnfinishedChange, version: str) -> str:
        """Run a version with the settings before a change; returns why it does not run, or an empty string."""
        for role in self._roles:
            if role.settings in change.settings:
                self._machine.write_settings(role, change.settings[role.settings])
        if not (reason := self._watch({role: self._trial() for role in self._flip(version, change)})):
            self._machine.end_change()
        return reason

    def _trial(self, settle_s: float = 0, running_before: Iterable[str] = ()) -> Trial:
        return Trial(running_before, ready_s=self._limits.ready_s, settle_s=settle_s)

    def _flip(self, name: str, change: UnfinishedChange) -> list[MachineRole]:
        """Switch the link and the units, and restart the services that are wanted; returns the roles whose services were started."""
        machine = self._machine
        wanted = [role for role in self._roles if machine.has_manager and role.unit in change.wanted]
        for role in self._leaving:
            machine.remove_units(role)
        machine.link("current", name)
        for role in self._roles:
            machine.put_units(name, role)
            machine.link_commands(role)
        machine.reload(self._roles)
        for role in wanted:
            machine.enable(role)
        started = [role for role in wanted if machine.runs(role)]
        for role in started:
            machine.ask(role, "restart", "--no-block", role.unit)
        return started

    def _watch(self, trials: dict[MachineRole, Trial]) -> str:
        """Watch until each service is decided; returns why one fails, or an empty string."""
        start_s, waiting = time.monotonic(), dict(trials)
        while waiting:
            now_s = time.monotonic() - start_s
            for role, trial in list(waiting.items()):
                match trial.look(now_s, self._machine.service(role)):
                    case TrialVerdict.BACK:
                        return f"{role.unit}: {trial.reason}"
                    case TrialVerdict.KEEP:
                        del waiting[role]
            if waiting:
                time.sleep(LOOK_S)
        return ""

    def _settle(self, name: str, before: str | None) -> None:
        """Keep the previous version, and no older one."""
        if before not in (None, name):
            self._machine.link("previous", before)
        for old in to_remove(self._machine.versions(), (name, self._machine.linked("previous"))):
            self._machine.remove_version(old)
