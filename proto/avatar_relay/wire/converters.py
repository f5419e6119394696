"""Tables that map plain message classes to protobuf classes, and the functions that convert with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Generic, TypeVar

from avatar_relay.limits import MAX_ID_CHARACTERS
from avatar_relay.wire.values import bounded, check_count

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Converter(Generic[M]):
    """Converts one kind of value to protobuf and back. `from_wire` raises `WireError` for a value that breaks the contract."""

    to_wire: Callable[[M], Any]
    from_wire: Callable[[Any], M]
    wire_name: str = ""
    """The field's name on the wire, if it differs from that of the plain class."""


def same(wire_name: str) -> Converter[Any]:
    """An unchanged value under another name on the wire."""
    return Converter(_unchanged, _unchanged, wire_name)


def _unchanged(value: Any) -> Any:
    return value


def texts(most: int, field: str) -> Converter[tuple[str, ...]]:
    """Repeated ids, at most `most`; `field` is used in the error."""

    def read(values: Any) -> tuple[str, ...]:
        check_count(values, most, field)
        return tuple([bounded(value, MAX_ID_CHARACTERS, field) for value in values])

    return Converter(list, read)


def cut_to(characters: int) -> Converter[str]:
    """Text that is cut off beyond `characters`."""
    return Converter(_unchanged, lambda text: text[:characters])


def at_most(characters: int, field: str) -> Converter[str]:
    """Text of at most `characters`: an id, or a token. `field` is used in the error."""
    return Converter(_unchanged, lambda text: bounded(text, characters, field))


def repeated(entry: Converter[M], most: int, field: str) -> Converter[tuple[M, ...]]:
    """A field with at most `most` entries; `field` is used in the error."""

    def read(values: Any) -> tuple[M, ...]:
        check_count(values, most, field)
        return tuple([entry.from_wire(value) for value in values])

    return Converter(lambda values: [entry.to_wire(value) for value in values], read)


def message(
    plain: type[M], protobuf: Callable[..., Any], *, check: Callable[[Any], None] | None = None, **special: Converter[Any]
) -> Converter[M]:
    """Converter between a message class and a protobuf class. Fields have the same names and plain values, except the `special` ones.

    `check` receives the protobuf message before it is read, and raises `WireError` if it breaks the contract.
    """
    names = [field.name for field in fields(plain)]  # type: ignore[arg-type]
    wire_names = [special[name].wire_name or name if name in special else name for name in names]
    get_plain, get_wire = _getter(names), _getter(wire_names)
    at = [(names.index(name), converter) for name, converter in special.items()]

    def to_wire(value: M) -> Any:
        values = get_plain(value)
        for index, converter in at:
            values[index] = converter.to_wire(values[index])
        return protobuf(**dict(zip(wire_names, values, strict=True)))

    def from_wire(value: Any) -> M:
        if check is not None:
            check(value)
        values = get_wire(value)
        for index, converter in at:
            values[index] = converter.from_wire(values[index])
        return plain(*values)

    return Converter(to_wire, from_wire)


def _getter(names: list[str]) -> Callable[[Any], list[Any]]:
    if len(names) < 2:
        return lambda value: [getattr(value, name) for name in names]
    get = attrgetter(*names)
    return lambda value: list(get(value))


class OneOf(Generic[M]):
    """The messages of a stream, by their names in the `oneof` of its protobuf class."""

    def __init__(self, protobuf: Callable[..., Any], oneof: str, members: Mapping[type, tuple[str, Converter[Any]]]) -> None:
        self._protobuf = protobuf
        self._oneof = oneof
        self._members = members
        self._by_name = dict(members.values())

    def fields(self, value: M) -> dict[str, Any]:
        """The message as a field of the protobuf class, by name."""
        name, converter = self._members[type(value)]
        return {name: converter.to_wire(value)}

    def to_wire(self, value: M) -> Any:
        """Encode a message."""
        return self._protobuf(**self.fields(value))

    def from_wire(self, value: Any) -> M | None:
        """Check and read a message; None if this version does not know it. Raises `WireError`."""
        converter = self._by_name.get(name := value.WhichOneof(self._oneof))
        return None if converter is None else converter.from_wire(getattr(value, name))
