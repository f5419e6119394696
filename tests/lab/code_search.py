"""Brute-force search for the code of a pairing exchange, as an attacker could run it on a transcript.

The attacker took part with a guessed code, so the secret x is known, and the other end sent a proof of the key. For each code c the
search computes the key that results if c was the guess: K = x·(Y − c·N), with a table of multiples of x·N. If that key matches the
proof, c is the code. The package spake2 provides the point arithmetic.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from spake2 import ed25519_basic as curve
from spake2.ed25519_group import Ed25519Group
from spake2.parameters.ed25519 import ParamsEd25519

SCALAR_BITS = 253
BATCH = 2_000
"""Number of keys that share one division of coordinates: a division takes as long as hundreds of multiplications."""
_Q = curve.Q
Point = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Transcript:
    """The messages of an exchange in which the attacker was the device."""

    sent: bytes
    """The attacker's element, without the side's letter."""
    got: bytes
    """The relay's element."""
    identities: tuple[bytes, bytes]
    """Identities of device and relay."""
    proof: bytes
    """The relay's HMAC."""


def codes_that_fit(transcripts: Sequence[Transcript], secret: int, codes: Iterable[str], *, window: int) -> list[list[str]]:
    """Return, for each transcript, the codes whose key matches its proof. All transcripts share the same `secret`.

    `window`: scalar bits per table lookup; 12 for a million codes, 4 for a few.
    """
    fitting: list[list[str]] = [[] for _ in transcripts]
    table = _multiples(ParamsEd25519.N.scalarmult(-secret).XYTZ, window)
    times_secret = [Ed25519Group.bytes_to_element(one.got).scalarmult(secret).XYTZ for one in transcripts]
    heads = [hashlib.sha256(one.identities[0]).digest() + hashlib.sha256(one.identities[1]).digest() for one in transcripts]
    waiting = iter(codes)
    while batch := list(islice(waiting, BATCH)):
        products = [_product(table, window, Ed25519Group.password_to_scalar(code.encode())) for code in batch]
        for number, (one, base, head) in enumerate(zip(transcripts, times_secret, heads, strict=True)):
            keys = _encoded([curve.add_elements(base, product) for product in products])
            for code, key in zip(batch, keys, strict=True):
                parts = hashlib.sha256(code.encode()).digest() + head + one.sent + one.got + key
                if hmac.digest(hashlib.sha256(parts).digest(), b"relay", "sha256") == one.proof:
                    fitting[number].append(code)
    return fitting


def secret_of(random_bytes: bytes) -> int:
    """The scalar that spake2 derives from these 64 bytes."""
    secret: int = curve.random_scalar(lambda _: random_bytes)
    return secret


def _multiples(point: Point, window: int) -> list[list[Point]]:
    """Table whose rows hold d·2^(window·row)·point, indexed by d."""
    rows = []
    for _ in range(-(-SCALAR_BITS // window)):
        row: list[Point] = [(0, 1, 1, 0)]
        for _ in range((1 << window) - 1):
            row.append(curve.add_elements(row[-1], point))
        rows.append(row)
        point = curve.add_elements(row[-1], point)
    return rows


def _product(table: list[list[Point]], window: int, scalar: int) -> Point:
    product: Any = None
    for row in table:
        digit = scalar & ((1 << window) - 1)
        scalar >>= window
        product = row[digit] if product is None else curve.add_elements(product, row[digit])
    found: Point = product
    return found


def _encoded(points: Sequence[Point]) -> Iterator[bytes]:
    """Encode points as `Element.to_bytes` does, with one division for all."""
    before, total = [], 1
    for point in points:
        before.append(total)
        total = total * point[2] % _Q
    inverse = pow(total, -1, _Q)
    inverses = []
    for point, product in zip(reversed(points), reversed(before), strict=True):
        inverses.append(inverse * product % _Q)
        inverse = inverse * point[2] % _Q
    for (x, y, _, _), one in zip(points, reversed(inverses), strict=True):
        yield (y * one % _Q | (x * one % _Q & 1) << 255).to_bytes(32, "little")
