"""The publisher's credit for one conversation. Pure."""

from __future__ import annotations


class CreditWindow:
    """Credit in bytes for one kind of media: a fixed window, returned in steps as media is sent on."""

    def __init__(self, size: int, step: int) -> None:
        self._size = size
        self._step = step
        self.granted = size
        """Bytes granted to the publisher since the beginning."""
        self.used = 0
        """Bytes received."""
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
        return self.granted - self.used

    @property
    def waiting(self) -> int:
        """Bytes received and not yet released."""
        return self.used - self._released

    def release(self) -> int:
        """Release credit for the bytes sent on or dropped; returns the bytes to grant now."""
        self._released = self.sent + self.dropped
        owed = self._released + self._size - self.granted
        if owed < self._step:
            return 0
        self.granted += owed
        self.owes_from = self.sent + self._step
        return owed
