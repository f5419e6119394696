"""What a publisher may still send of one conversation. Pure."""

from __future__ import annotations


class CreditWindow:
    """Bytes of one kind that a publisher may still send: a window, returned in steps as what waited leaves."""

    def __init__(self, size: int, step: int) -> None:
        self._size = size
        self._step = step
        self._granted = size
        self._used = 0
        self._released = 0

    @property
    def left(self) -> int:
        """Bytes that the publisher may still send."""
        return self._granted - self._used

    @property
    def waiting(self) -> int:
        """Bytes taken and not yet released."""
        return self._used - self._released

    def fits(self, size: int) -> bool:
        """Whether the publisher's credit covers `size` more bytes."""
        return self._used + size <= self._granted

    def use(self, size: int, *, credited: bool = False) -> bool:
        """The publisher sent `size` bytes; False, nothing changed, if `credited` and they are more than it was granted."""
        used = self._used + size
        if credited and used > self._granted:
            return False
        self._used = used
        return True

    def release(self, total: int) -> int:
        """All in all `total` bytes left, or were dropped; returns the bytes to grant now."""
        self._released = max(self._released, total)
        owed = self._released + self._size - self._granted
        if owed < self._step:
            return 0
        self._granted += owed
        return owed
