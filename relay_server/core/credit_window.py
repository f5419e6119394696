"""The publisher's credit for one conversation. Pure."""

from __future__ import annotations


class CreditWindow:
    """Credit in bytes for one kind of media: a fixed window, returned in steps as media is sent on."""

    def __init__(self, size: int, step: int) -> None:
        self._size = size
        self._step = step
        self._granted = size
        self._used = 0
        self._released = 0
        self.sent = 0
        """Bytes sent to the device that received most."""
        self.dropped = 0
        """Bytes received and dropped."""
        self.owes_from = step
        """Credit is owed to the publisher once `sent` has reached this."""

    @property
    def left(self) -> int:
        """Bytes that the publisher may still send."""
        return self._granted - self._used

    @property
    def waiting(self) -> int:
        """Bytes received and not yet released."""
        return self._used - self._released

    def fits(self, size: int) -> bool:
        """Whether the publisher's credit covers `size` more bytes."""
        return self._used + size <= self._granted

    def use(self, size: int, *, credited: bool = False) -> bool:
        """Use credit for `size` bytes; False, with the state unchanged, if `credited` and they exceed the granted credit."""
        used = self._used + size
        if credited and used > self._granted:
            return False
        self._used = used
        return True

    def release(self) -> int:
        """Release credit for the bytes sent on or dropped; returns the bytes to grant now."""
        self._released = self.sent + self.dropped
        owed = self._released + self._size - self._granted
        if owed < self._step:
            return 0
        self._granted += owed
        self.owes_from = self.sent + self._step
        return owed
