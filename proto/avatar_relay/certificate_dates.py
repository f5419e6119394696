"""Validity of certificates, read from their DER (RFC 5280, 4.1), because Python's `ssl` does not provide it. Pure."""

from __future__ import annotations

import calendar
import re
import ssl
import time
from dataclasses import dataclass

PLAUSIBLE_UNIX_S = 1_735_689_600
"""2025-01-01, older than this program: an earlier clock was never set, as on a Raspberry Pi without a battery."""
DAY_S = 86_400
WARN_DAYS = (30, 7)
_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Validity:
    """Start and end of a certificate's validity, in seconds since the Unix epoch."""

    not_before_s: int
    not_after_s: int

    def fault(self, now_s: int) -> str:
        """Why it is invalid now, in words; empty if it is valid."""
        if now_s < self.not_before_s:
            return f"is not valid before {_date(self.not_before_s)}, and this machine's clock says {_date(now_s)}"
        return f"has expired on {_date(self.not_after_s)}; this machine's clock says {_date(now_s)}" if now_s > self.not_after_s else ""

    def warning(self, now_s: int) -> str:
        """A warning that it expires soon; empty if it does not."""
        days = (self.not_after_s - now_s) // DAY_S
        return f"expires in {days} days, on {_date(self.not_after_s)}" if days < max(WARN_DAYS) else ""

    def stage(self, now_s: int) -> int:
        """Number of warnings that are due (30 days, 7 days)."""
        return sum(self.not_after_s - now_s < days * DAY_S for days in WARN_DAYS)


def clock_fault(now_s: int) -> str:
    """Why this machine's clock is wrong, in words; empty if no error is apparent."""
    if now_s >= PLAUSIBLE_UNIX_S:
        return ""
    return f"this machine's clock says {_date(now_s)}, and certificates are checked by it: set it (timedatectl), or wait for NTP"


def validities(pem: bytes) -> list[Validity]:
    """The validities of the certificates in a PEM file, in its order. Raises `ValueError` if one cannot be read."""
    return [_validity(_der(block)) for block in _BLOCK.findall(pem)]


def first_certificate(pem: bytes) -> bytes:
    """The first certificate of a PEM file, in DER: the one that a server presents as its own. Raises `ValueError`."""
    found = _BLOCK.search(pem)
    if found is None:
        raise ValueError("holds no certificate in PEM")
    return _der(found[0])


def _der(block: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(block.decode("ascii", "replace"))


def _validity(der: bytes) -> Validity:
    try:
        at, _ = _enter(der, 0, _SEQUENCE)
        at, _ = _enter(der, at, _SEQUENCE)
        fields = 4 if der[at] == _VERSION else 3
        for _ in range(fields):  # version, serial number, signature algorithm, issuer
            start, size = _header(der, at)
            at = start + size
        at, _ = _enter(der, at, _SEQUENCE)
        start, size = _header(der, at)
        not_before = _time(der[at], der[start : start + size])
        at = start + size
        start, size = _header(der, at)
        return Validity(not_before, _time(der[at], der[start : start + size]))
    except IndexError:
        raise ValueError("is cut off") from None


def _enter(der: bytes, at: int, tag: int) -> tuple[int, int]:
    if der[at] != tag:
        raise ValueError("is no certificate")
    return _header(der, at)


def _header(der: bytes, at: int) -> tuple[int, int]:
    """The position of an element's content, and its size."""
    size = der[at + 1]
    if size < 0x80:
        return at + 2, size
    count = size & 0x7F
    return at + 2 + count, int.from_bytes(der[at + 2 : at + 2 + count], "big")


def _time(tag: int, text: bytes) -> int:
    digits = text.decode("ascii", "replace")
    if tag == _UTC_TIME:
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    elif tag != _GENERALIZED_TIME:
        raise ValueError("has no dates")
    return calendar.timegm(time.strptime(digits, "%Y%m%d%H%M%SZ"))


def _date(unix_s: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(min(max(unix_s, 0), 253_402_300_799)))
