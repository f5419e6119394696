"""What an attacker can do with the transcript of an exchange of a pairing: try every code on it.

He took part with a guess of his own, so he knows his secret x, and the other end proved to him that it has the key. For each code c he
works out the key that he would have if c were his guess: K = x·(Y − c·N), by a table of multiples of x·N. If that key fits the proof, c is
the code. Point arithmetic is that of the package spake2.
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
"""Keys whose coordinates are divided at once: a division takes as long as hundreds of multiplications."""
_Q = curve.Q
Point = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was sent in an exchange in which the attacker was the device."""

    sent: bytes
    """His element, without the letter of the side."""
    got: bytes
    """The relay's."""
    identities: tuple[bytes, bytes]
    """Of device and relay."""
    proof: bytes
    """The relay's HMAC."""


def codes_that_fit(transcripts: Sequence[Transcript], secret: int, codes: Iterable[str], *, window: int) -> list[list[str]]:
    """For each transcript, in all of which he used the same `secret`, the codes whose key fits its proof.

    `window`: bits of a scalar that one look into the table takes; 12 for a million codes, 4 for some.
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
    """The scalar that spake2 makes of these 64 bytes."""
    secret: int = curve.random_scalar(lambda _: random_bytes)
    return secret


def _multiples(point: Point, window: int) -> list[list[Point]]:
    """In each row d·2^(window·row)·point, by d."""
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
    """As `Element.to_bytes` does it, with one division for all."""
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
