"""The caller: what a service checks before it performs a request. Pure.

The guard sets the caller for the duration of each RPC. Without a guard the relay is open, and the caller is `EVERYBODY`.
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
    """An admitted caller. `key` is empty for `EVERYBODY`."""

    key: str
    scope: Scope
    own_name: str = ""
    """The only device id that it may attach under; empty: any."""
    trusted_sampling: bool = False

    def attach_refusal(self, device_id: str) -> Fault | None:
        """Why the caller may not attach as `device_id`; None if it may."""
        if self.own_name in ("", device_id):
            return None
        return Fault(Reason.DEVICE_FORBIDDEN, f"these credentials are for another device than {device_id[:64]!r}", "hello.device_id")

    def target_refusal(self, targets: tuple[str, ...], field: str) -> Fault | None:
        """Why the caller may not reach these devices and groups, given in `field` of its request; None if it may reach all of them."""
        for target in targets:
            if not self.scope.covers(target):
                return Fault(Reason.DEVICE_FORBIDDEN, f"{self.key} may not reach {target[:64]!r}; the relay's operator can allow it", field)
        return None

    def drain_refusal(self) -> Fault | None:
        """Why the caller may not drain the relay; None if it may."""
        if self.scope.everywhere:
            return None
        return Fault(Reason.RPC_FORBIDDEN, f"{self.key} may reach some devices only, and a drain concerns all")


class AdmittedAs(NamedTuple):
    """How an admitted caller is counted."""

    name: str
    """Its identity, or its network if it presented no credentials."""
    known: bool
    """Whether its connection counts as a known caller's, not as a stranger's."""


EVERYBODY = Caller("", Scope((EVERYWHERE,), MappingProxyType({})), trusted_sampling=True)
"""The caller of an open relay."""
NOBODY = Caller("nobody", Scope((), MappingProxyType({})), own_name="-")
"""A caller without credentials at a guarded relay, for RPCs that need none."""

_CALLER: ContextVar[Caller] = ContextVar("caller", default=EVERYBODY)


def current_caller() -> Caller:
    """The caller of the current RPC."""
    return _CALLER.get()


def set_caller(caller: Caller) -> None:
    """Set the caller, for this task and the tasks that it starts."""
    _CALLER.set(caller)
