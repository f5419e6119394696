"""Shared by both ends of a pairing: the code, the key exchange, and its rate limit. Pure.

SPAKE2 (RFC 9382, package spake2) derives a key from the code. Each exchange tests one guess: a peer without the code learns from the
messages only whether that guess was right. The identities bind the exchange to the device's name and to the certificate that each end sees
of the relay: two ends that see different ones derive different keys.
"""

from __future__ import annotations

import hmac
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

CODES = 1_000_000
MAX_ELEMENT_BYTES = 64
"""Bound of one message of SPAKE2; it has 33."""
EXCHANGES_PER_HOUR = 30
HOUR_US = 3_600_000_000
STEP_S = 10.0
"""Time limit of each end for the other's next message within an exchange."""

_CODE = re.compile(r"[0-9]{6}", re.ASCII)
_DEVICE, _RELAY = b"avatar-relay pairing 1: device ", b"avatar-relay pairing 1: relay "

Side = Literal["device", "relay"]
RandomBytes = Callable[[int], bytes]


class ExchangeError(Exception):
    """The other end sent data that is not a SPAKE2 message."""


def new_code(random_bytes: RandomBytes) -> str:
    """Six digits, all equally likely. `random_bytes` must be a cryptographic source."""
    bound = (1 << 32) // CODES * CODES
    while (number := int.from_bytes(random_bytes(4), "big")) >= bound:
        pass
    return f"{number % CODES:06d}"


def is_code(text: str) -> bool:
    """Whether a text has the form of a code."""
    return _CODE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class PairingKeys:
    """The proofs by which the two ends of an exchange show each other that they know the code."""

    relay: bytes = field(repr=False)
    device: bytes = field(repr=False)

    def proves(self, side: Side, shown: bytes) -> bool:
        """Whether `shown` is the proof of `side`. Constant time."""
        return hmac.compare_digest(self.relay if side == "relay" else self.device, shown)


class Exchange:
    """One end of one exchange. Each half takes some 10 ms on a desktop computer, and some 100 ms on a Raspberry Pi."""

    def __init__(self, side: Side, code: str, name: str, certificate_sha256: bytes, random_bytes: RandomBytes) -> None:
        """`certificate_sha256` is the hash of the relay's certificate (DER) as this end sees it. Raises `ImportError` without spake2."""
        import spake2  # late: pairing is rare

        kind: Any = spake2.SPAKE2_A if side == "device" else spake2.SPAKE2_B
        self._spake: Any = kind(code.encode(), idA=_DEVICE + name.encode(), idB=_RELAY + certificate_sha256, entropy_f=random_bytes)
        self.element: bytes = self._spake.start()
        """The message for the other end."""

    def finish(self, element: bytes) -> PairingKeys:
        """The keys, from the other end's element. Call it once. Raises `ExchangeError`."""
        if len(element) != len(self.element):  # the library pads a short one, and accepts zeros behind a long one
            raise ExchangeError("not a SPAKE2 message")
        try:
            key: bytes = self._spake.finish(element)
        except Exception as error:  # the library raises many kinds of errors for an invalid element, AssertionError among them
            raise ExchangeError("not a SPAKE2 message") from error
        return PairingKeys(hmac.digest(key, b"relay", "sha256"), hmac.digest(key, b"device", "sha256"))


class ExchangeBudget:
    """At most `EXCHANGES_PER_HOUR` exchanges within any hour."""

    def __init__(self) -> None:
        self._times_us: deque[int] = deque(maxlen=EXCHANGES_PER_HOUR)

    def wait_us(self, now_us: int) -> int:
        """Time until the next exchange may begin; 0: now."""
        full = len(self._times_us) == EXCHANGES_PER_HOUR
        return max(0, self._times_us[0] + HOUR_US - now_us) if full else 0

    def take(self, now_us: int) -> bool:
        """Begin an exchange if permitted; returns whether it is."""
        if self.wait_us(now_us):
            return False
        self._times_us.append(now_us)
        return True
