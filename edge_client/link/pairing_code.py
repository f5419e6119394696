"""The code that an unpaired device shows. Pure.

Rules
1. A code is valid for `CODE_LIFE_US`, and for `TRIES` exchanges: whatever the result of the last one, the next code follows.
2. An exchange keeps the code that it began with.
3. At most `EXCHANGES_PER_HOUR` exchanges within an hour; beyond that the device admits none, whatever code it shows.
"""

from __future__ import annotations

from avatar_relay.pairing import ExchangeBudget, RandomBytes, new_code

CODE_LIFE_US = 60_000_000
TRIES = 3


class PairingCode:
    """The code of one device."""

    def __init__(self, random_bytes: RandomBytes, now_us: int) -> None:
        """`random_bytes` must be a cryptographic source."""
        self._random_bytes = random_bytes
        self._budget = ExchangeBudget()
        self.code = ""
        self._renew(now_us)

    def look(self, now_us: int) -> bool:
        """Replace an expired code; returns whether the code changed."""
        if now_us - self._since_us < CODE_LIFE_US and self._tries < TRIES:
            return False
        self._renew(now_us)
        return True

    def begin(self, now_us: int) -> str | None:
        """Begin an exchange: returns its code, which counts as tried from now on; None if none may begin now."""
        self.look(now_us)
        if not self._budget.take(now_us):
            return None
        self._tries += 1
        return self.code

    def rests_us(self, now_us: int) -> int:
        """Time until an exchange may begin; 0: one may now."""
        return self._budget.wait_us(now_us)

    def _renew(self, now_us: int) -> None:
        before = self.code
        while self.code == before:
            self.code = new_code(self._random_bytes)
        self._since_us, self._tries = now_us, 0
