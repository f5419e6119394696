"""Tokens: what a device, a publisher or an operator presents, and what the relay stores of it. Pure.

A token is `avr_<id>_<secret>`: 16 hexadecimal digits that find it in the file, and 256 random bits. The relay stores the id, a salt for
each token, and HMAC-SHA-256 of the secret under that salt. A slow hash (scrypt, argon2) protects secrets that people choose; for 256 random
bits it would only let strangers cost CPU time.
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
    """The stored part of a token. Times are seconds since the Unix epoch; `expires_unix_s` 0: never."""

    token_id: str
    salt: bytes
    digest: bytes
    created_unix_s: int
    expires_unix_s: int = 0

    def expired(self, unix_s: int) -> bool:
        """Whether it has expired."""
        return 0 < self.expires_unix_s <= unix_s

    def matches(self, secret: str) -> bool:
        """Whether `secret` belongs to this token. Constant time."""
        return hmac.compare_digest(_digest(self.salt, secret), self.digest)


UNKNOWN = TokenRecord("", bytes(_SALT_BYTES), bytes(32), 0)
"""Stands in for an unknown token, so that its check takes as long as that of a known one; matches nothing."""


def make_token(random_bytes: Callable[[int], bytes], unix_s: int, expires_unix_s: int = 0) -> tuple[str, TokenRecord]:
    """A new token, and the record to store. `random_bytes` must be a cryptographic source (`os.urandom`)."""
    token_id, salt, secret = random_bytes(_ID_BYTES).hex(), random_bytes(_SALT_BYTES), random_bytes(_SECRET_BYTES).hex()
    return f"avr_{token_id}_{secret}", TokenRecord(token_id, salt, _digest(salt, secret), unix_s, expires_unix_s)


def split_token(token: str) -> tuple[str, str]:
    """The id and secret of a token; both empty if it is malformed."""
    match = _TOKEN.fullmatch(token)
    return (match[1], match[2]) if match else ("", "")


def _digest(salt: bytes, secret: str) -> bytes:
    return hmac.digest(salt, secret.encode(), "sha256")
