"""Tokens: what a device, a publisher or an operator shows, and what the relay keeps of it. Pure.

A token is `avr_<id>_<secret>`: 16 hexadecimal digits that find it in the file, and 256 random bits that nobody can guess.
The relay keeps the id, a salt of its own for each token, and HMAC-SHA-256 of the secret under that salt. A slow hash
(scrypt, argon2) protects secrets that people choose; for 256 random bits it would only let strangers cost us CPU.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass

_ID_BYTES, _SALT_BYTES, _SECRET_BYTES = 8, 16, 32
_TOKEN = re.compile(r"avr_([0-9a-f]{16})_([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is kept of a token. Times are seconds since the Unix epoch; `expires_unix_s` 0: never."""

    token_id: str
    salt: bytes
    digest: bytes
    created_unix_s: int
    expires_unix_s: int = 0

    def expired(self, unix_s: int) -> bool:
        """Whether it counts no more."""
        return 0 < self.expires_unix_s <= unix_s

    def matches(self, secret: str) -> bool:
        """Whether `secret` is this token's. Takes the same time whatever it is."""
        return hmac.compare_digest(_digest(self.salt, secret), self.digest)


UNKNOWN = TokenRecord("", bytes(_SALT_BYTES), bytes(32), 0)
"""Stands in for a token that is not there, so that looking for it takes as long as finding it; matches nothing."""


def make_token(random_bytes: Callable[[int], bytes], unix_s: int, expires_unix_s: int = 0) -> tuple[str, TokenRecord]:
    """A new token, and what to keep of it. `random_bytes` must be a cryptographic source (`os.urandom`)."""
    token_id, salt, secret = random_bytes(_ID_BYTES).hex(), random_bytes(_SALT_BYTES), random_bytes(_SECRET_BYTES).hex()
    return f"avr_{token_id}_{secret}", TokenRecord(token_id, salt, _digest(salt, secret), unix_s, expires_unix_s)


def split_token(token: str) -> tuple[str, str]:
    """Id and secret of a token; both empty if it has not the form of one."""
    match = _TOKEN.fullmatch(token)
    return (match[1], match[2]) if match else ("", "")


def _digest(salt: bytes, secret: str) -> bytes:
    return hmac.digest(salt, secret.encode(), "sha256")
