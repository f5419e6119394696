"""Which devices wait to be paired, and how often an operator may try. Pure.

Rules

1. At most `MAX_WAITING` devices wait at a time.
2. An exchange begins only when an operator names a device. If two devices wait under one name, neither is paired: the code of one must not
   be tried on the other.
3. Each device has at most one exchange at a time, and all devices together have `EXCHANGES_PER_HOUR`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from avatar_relay.pairing import EXCHANGES_PER_HOUR, ExchangeBudget
from avatar_relay.reasons import Fault, Reason
from relay_server.errors import RequestError

MAX_WAITING = 16
FULL_RETRY_MS = 10_000

Waiter = TypeVar("Waiter", bound=Hashable)


class PairingDesk(Generic[Waiter]):
    """Keeps the waiting devices."""

    def __init__(self) -> None:
        self._names: dict[Waiter, str] = {}
        self._busy: set[Waiter] = set()
        self._budget = ExchangeBudget()

    def join(self, waiter: Waiter, name: str) -> None:
        """Add a waiting device. Raises `RequestError` if too many wait."""
        if len(self._names) >= MAX_WAITING:
            text = f"{MAX_WAITING} devices are waiting to be paired already"
            raise RequestError(Fault(Reason.LIMIT_REACHED, text, retry_after_ms=FULL_RETRY_MS))
        self._names[waiter] = name

    def leave(self, waiter: Waiter) -> None:
        """Remove a waiting device. Idempotent."""
        self._names.pop(waiter, None)
        self._busy.discard(waiter)

    def begin(self, name: str, now_us: int) -> Waiter:
        """Begin an exchange with the device of this name, and return it. Raises `RequestError`."""
        found = [waiter for waiter, its in self._names.items() if its == name]
        if not found:
            text = f"no device of the name {name[:64]!r} is waiting to be paired; check the name on its screen"
            raise RequestError(Fault(Reason.PAIRING_UNKNOWN, text, "name"))
        if len(found) > 1:
            text = f"{len(found)} devices of the name {name!r} wait: give each a name of its own (setting device_id)"
            raise RequestError(Fault(Reason.PAIRING_FAILED, text, "name"))
        if found[0] in self._busy:
            raise RequestError(Fault(Reason.PAIRING_FAILED, f"{name} is being paired right now", "name"))
        if wait_us := self._budget.wait_us(now_us):
            text = f"{EXCHANGES_PER_HOUR} codes were tried within an hour"
            raise RequestError(Fault(Reason.LIMIT_REACHED, text, retry_after_ms=wait_us // 1_000 + 1))
        self._budget.take(now_us)
        self._busy.add(found[0])
        return found[0]
