"""Who calls: what a service asks before it does what it was asked for. Pure.

The guard says who calls for the length of each RPC; where there is no guard, the relay is open and `EVERYBODY` calls.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from avatar_relay.reasons import Fault, Reason
from relay_server.access.scopes import EVERYWHERE, Scope


@dataclass(frozen=True, slots=True)
class Caller:
    """One who was let in. `key` is empty for everybody."""

    key: str
    scope: Scope
    own_name: str = ""
    """The only name it may attach under; empty: any."""
    trusted_sampling: bool = False

    def attach_refusal(self, device_id: str) -> Fault | None:
        """Why it may not attach as `device_id`; None where it may."""
        if self.own_name in ("", device_id):
            return None
        return Fault(Reason.DEVICE_FORBIDDEN, f"these credentials are for another device than {device_id[:64]!r}", "hello.device_id")

    def target_refusal(self, targets: tuple[str, ...], field: str) -> Fault | None:
        """Why it may not reach these devices and groups, `field` of its request; None where it may reach all of them."""
        for target in targets:
            if not self.scope.covers(target):
                return Fault(Reason.DEVICE_FORBIDDEN, f"{self.key} may not reach {target[:64]!r}; who runs the relay can allow it", field)
        return None

    def drain_refusal(self) -> Fault | None:
        """Why it may not end the relay for all; None where it may."""
        if self.scope.everywhere:
            return None
        return Fault(Reason.RPC_FORBIDDEN, f"{self.key} may reach some devices only, and a drain concerns all")


class AdmittedAs(NamedTuple):
    """How one that was let in is counted."""

    name: str
    """Its identity, or its network if it showed no credentials."""
    known: bool
    """Whether its connection counts as a caller's, not as a stranger's."""


EVERYBODY = Caller("", Scope((EVERYWHERE,), MappingProxyType({})), trusted_sampling=True)
"""Who calls an open relay."""
NOBODY = Caller("nobody", Scope((), MappingProxyType({})), own_name="-")
"""Who calls a guarded relay without credentials, for what needs none."""

_CALLER: ContextVar[Caller] = ContextVar("caller", default=EVERYBODY)


def current_caller() -> Caller:
    """Who began the RPC that runs here."""
    return _CALLER.get()


def set_caller(caller: Caller) -> None:
    """Say who calls, for this task and those that it begins."""
    _CALLER.set(caller)
