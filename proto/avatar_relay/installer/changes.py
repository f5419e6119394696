"""Changes to another version and back, and progress messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from avatar_relay.installer.machine import InstallError, Machine
from avatar_relay.installer.plan import MachineRole, to_remove
from avatar_relay.installer.trial import Trial, TrialVerdict

LOOK_S = 0.25


@dataclass(frozen=True)
class TrialLimits:
    """Time limits for a new release: to become ready, and to be observed afterwards."""

    ready_s: float = 30.0
    settle_s: float = 60.0


class Changes:
    """Changes a machine for its roles. `say` is called with a line for each step."""

    def __init__(self, machine: Machine, roles: Sequence[MachineRole], limits: TrialLimits, say: Callable[[str], None]) -> None:
        self._machine = machine
        self._roles = tuple(roles)
        self._limits = limits
        self._say = say

    def to_version(self, name: str) -> None:
        """Run a complete version. Returns to the previous one and raises `InstallError` if it does not run as well."""
        machine, before = self._machine, self._machine.linked("current")
        parts = {role: machine.service(role).running_parts for role in self._roles if machine.runs(role)}
        started = self._flip(name)
        if absent := [role.unit for role in self._roles if not machine.runs(role)]:
            self._say(f"no service manager runs here for {' and '.join(absent)}: it starts with the machine, or the session")
        reason = self._watch({role: self._trial(self._limits.settle_s, parts[role]) for role in started})
        if not reason:
            self._settle(name, before)
            return
        if before is None or before == name or not machine.is_complete(before):
            raise InstallError(f"{reason}. There is no version to go back to; journalctl and `edge-client doctor` say more")
        self._say(f"{reason}; going back to {before}")
        again = self._watch({role: self._trial() for role in self._flip(before)})
        machine.remove_version(name)
        raise InstallError(f"{name} was taken back: {reason}. {again or f'{before} runs again'}")

    def restart(self, name: str) -> None:
        """Restart the same version, for other settings or units. Raises `InstallError` if it is not ready in time."""
        if reason := self._watch({role: self._trial() for role in self._flip(name)}):
            raise InstallError(f"{reason}; journalctl and `edge-client doctor` say more")

    def roll_back(self) -> str:
        """Run the previous version, and return its name. Raises `InstallError` if there is none, or it is not ready in time."""
        machine = self._machine
        previous, current = machine.linked("previous"), machine.linked("current")
        if previous is None or not machine.is_complete(previous):
            raise InstallError("there is no version to go back to")
        self.restart(previous)
        machine.link("previous", current)
        return previous

    def _trial(self, settle_s: float = 0, running_before: Iterable[str] = ()) -> Trial:
        return Trial(running_before, ready_s=self._limits.ready_s, settle_s=settle_s)

    def _flip(self, name: str) -> list[MachineRole]:
        """Switch the link and the units, and restart the services, except disabled ones; returns the roles whose services were started."""
        machine = self._machine
        wanted = [role for role in self._roles if machine.has_manager and machine.is_wanted(role)]
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
