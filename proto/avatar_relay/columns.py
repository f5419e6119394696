"""Meaning of the columns of a row of weights: from the declared name set, or inferred from the names.

Rules
1. A declared set is used. Names that it does not have are left out.
2. Otherwise the only set that has all names is used; a set of visemes also has ARKit's names, if it has any of its own.
3. Otherwise, if half of the names or more are ARKit's, those are used, and the others are left out.
4. Otherwise it is ambiguous: `AmbiguousNamesError`. A guess would move the mouth wrongly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avatar_relay.media import NameSet
from avatar_relay.mouth.viseme_sets import expression_named, viseme_named
from avatar_relay.mouth.visemes import Viseme
from avatar_relay.spellings import ColumnMap, map_columns

MAX_NAMES_TOLD = 8
MAX_NAME_TOLD = 32


class AmbiguousNamesError(ValueError):
    """The name set cannot be inferred; the text quotes some of the names, and the possible sets."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What each column moves."""

    name_set: NameSet
    arkit: ColumnMap
    """Columns of ARKit's shapes and angles; indices are those of the whole row."""
    visemes: Mapping[int, Viseme]
    """Columns that are visemes."""
    expressions: Mapping[int, Mapping[str, float]]
    """Columns that are weights of several blendshapes."""
    left_out: tuple[str, ...]
    """Names that have no effect and are not known to have none."""

    @property
    def understood(self) -> int:
        """Number of columns that only this set has, or that are ARKit's."""
        return len(self.visemes) + len(self.expressions) + sum(map(len, self.arkit.shapes.values())) + len(self.arkit.angles)


def read_columns(names: Sequence[str], declared: NameSet | None) -> Columns:
    """The columns for these names. Raises `AmbiguousNamesError`."""
    if declared is not None:
        columns = _columns(names, declared)
        if not columns.understood:
            raise AmbiguousNamesError(f"none of the names {told(names)} is one of the declared name_set {declared.name}")
        return columns
    possible = [_columns(names, name_set) for name_set in NameSet]
    whole = [columns for columns in possible if not columns.left_out and _has_own(columns)]
    if len(whole) == 1:
        return whole[0]
    arkit = possible[0]
    if not whole and arkit.understood and 2 * len(arkit.left_out) <= len(names):
        return arkit
    if whole:
        fitting = " and ".join(columns.name_set.name for columns in whole)
        raise AmbiguousNamesError(f"the names {told(names)} are names of {fitting} alike: declare name_set")
    near = [f"{columns.name_set.name} {len(names) - len(columns.left_out)}" for columns in possible if _has_own(columns)]
    raise AmbiguousNamesError(f"no name_set has all of the {len(names)} names {told(names)}; known are: {', '.join(near) or 'none'}")


def told(names: Sequence[str]) -> str:
    """Names for an error text, as many as fit into a line."""
    shown = ", ".join(repr(name[:MAX_NAME_TOLD]) for name in names[:MAX_NAMES_TOLD])
    return shown + (f" and {len(names) - MAX_NAMES_TOLD} more" if len(names) > MAX_NAMES_TOLD else "")


def _has_own(columns: Columns) -> bool:
    """Whether any name is one of the set itself."""
    if columns.name_set is NameSet.ARKIT:
        return columns.understood > 0
    return bool(columns.visemes)


def _columns(names: Sequence[str], name_set: NameSet) -> Columns:
    visemes: dict[int, Viseme] = {}
    expressions: dict[int, Mapping[str, float]] = {}
    for column, name in enumerate(names):
        if (viseme := viseme_named(name, name_set)) is not None:
            visemes[column] = viseme
        elif (expression := expression_named(name, name_set)) is not None:
            expressions[column] = expression
    taken = visemes.keys() | expressions.keys()
    arkit = map_columns(["" if column in taken else name for column, name in enumerate(names)])
    left_out = tuple(names[column] for column in arkit.left_out if column not in taken)
    return Columns(name_set, arkit, visemes, expressions, left_out)
