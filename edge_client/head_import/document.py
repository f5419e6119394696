"""Checked access to the JSON of a model: a file is rejected if a value lacks the required type or range. Pure."""

from __future__ import annotations

import math
from typing import Any

from edge_client.errors import ModelError
from edge_client.head_import.glb import ModelFile

Entry = dict[str, Any]

MAX_ENTRIES = 65_536
"""Limit for any list."""


class Document:
    """A model's JSON, and its bytes."""

    def __init__(self, file: ModelFile) -> None:
        self.root: Entry = file.json
        self.binary = file.binary

    def entry(self, kind: str, index: int, user: str) -> Entry:
        """Return the entry of a top-level list that `user` references by its index. Raises `ModelError`."""
        entries = listed(self.root, kind, kind)
        if not 0 <= index < len(entries):
            raise ModelError(f"{user} names {kind}[{index}], and there are {len(entries)}")
        return as_entry(entries[index], f"{kind}[{index}]")

    def count(self, kind: str) -> int:
        """Number of entries of a top-level list."""
        return len(listed(self.root, kind, kind))


def as_entry(value: object, where: str) -> Entry:
    """Check that a value is a JSON object. Raises `ModelError`."""
    if not isinstance(value, dict):
        raise ModelError(f"{where} is no object")
    return value


def inner(entry: Entry, key: str, where: str) -> Entry:
    """Return the object under a key; empty if it is missing. Raises `ModelError`."""
    return as_entry(entry.get(key, {}), f"{where}.{key}")


def extension(entry: Entry, name: str, where: str) -> Entry:
    """Return an extension of an entry; empty if it is missing. Raises `ModelError`."""
    return inner(inner(entry, "extensions", where), name, where)


def listed(entry: Entry, key: str, where: str) -> list[Any]:
    """Return the list under a key; empty if it is missing. Raises `ModelError`."""
    found = entry.get(key, [])
    if not isinstance(found, list) or len(found) > MAX_ENTRIES:
        raise ModelError(f"{where} is no list of at most {MAX_ENTRIES} entries")
    return found


def whole(value: object, where: str, most: int = 2**31) -> int:
    """Check that a value is an integer from 0 to `most`. Raises `ModelError`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ModelError(f"{where} is no whole number from 0 to {most}")
    return value


def numbers(value: object, where: str, count: int) -> list[float]:
    """Check that a value is a list of `count` finite numbers. Raises `ModelError`."""
    if not isinstance(value, list) or len(value) != count or not all(_is_number(part) for part in value):
        raise ModelError(f"{where} has to be {count} numbers")
    return [float(part) for part in value]


def number(value: object, where: str) -> float:
    """Check that a value is a finite number. Raises `ModelError`."""
    return numbers([value], where, 1)[0]


def name_of(entry: Entry, otherwise: str) -> str:
    """Return an entry's name, made printable and short."""
    found = entry.get("name")
    return printable(found) if isinstance(found, str) and found.strip() else otherwise


def printable(text: str) -> str:
    """Make a text of the file printable and short."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:80])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30 and math.isfinite(value)
