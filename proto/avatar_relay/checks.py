"""Checks of arguments of the public API. Each raises at the call, with the argument's name, the expected and the actual value.

`TypeError`: a value of a wrong type. `FieldError`, a `ValueError`: a value of the right type that is out of range. Numbers of other
libraries (numpy's scalars) are accepted and converted; booleans are not numbers, and arrays are neither numbers nor bytes.
"""

from __future__ import annotations

import enum
import inspect
import reprlib
from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral, Real
from typing import TypeVar

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)
MAX_POSITION_US = 86_400_000_000
"""A day, more than any conversation."""

BytesLike = bytes | bytearray | memoryview
"""Encoded media as a caller may pass it."""

_PAYLOAD = "bytes, bytearray or memoryview"


class FieldError(ValueError):
    """A value out of range; `field` is the argument's name."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field} {text}")
        self.field = field


def wrong_type(name: str, expected: str, value: object) -> TypeError:
    """The error for a value of a wrong type. The value itself is shown only if it is short, and never if it may be media."""
    shown = "" if value is None or isinstance(value, BytesLike) else f" {reprlib.repr(value)}"
    return TypeError(f"{name} must be {expected}, not {type(value).__name__}{shown}")


def check_type(value: object, kind: type[T], name: str) -> T:
    """Return `value` if it is a `kind`."""
    if isinstance(value, kind):
        return value
    example = next((f" such as {kind.__name__}.{member.name}" for member in kind), "") if issubclass(kind, enum.Enum) else ""
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    raise wrong_type(name, f"{article} {kind.__name__}{example}", value)


def check_bool(value: object, name: str) -> None:
    """True or False; truthy values are refused."""
    if value is not True and value is not False:
        raise wrong_type(name, "True or False", value)


def check_int(value: object, name: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`, as an `int`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise wrong_type(name, "a whole number", value)
    number = int(value)
    if not low <= number <= high:
        raise FieldError(name, f"must be from {low} to {high}, not {reprlib.repr(number)}")
    return number


def check_number(value: object, name: str) -> float:
    """A real number, as a `float`; infinite or NaN values are kept."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise wrong_type(name, "a number", value)
    try:
        return float(value)
    except OverflowError:
        raise FieldError(name, f"is too large: {reprlib.repr(value)}") from None


def check_text(value: object, name: str) -> str:
    """Text that can be encoded as UTF-8."""
    if not isinstance(value, str):
        raise wrong_type(name, "a str", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FieldError(name, f"holds half a surrogate pair, which UTF-8 cannot encode: {reprlib.repr(value)}") from None
    return value


def check_choice(value: object, choices: type[E], name: str) -> E:
    """The member of an enumeration whose value is this text."""
    text = check_text(value, name)
    for member in choices:
        if member.value == text:
            return member
    raise FieldError(name, f"is {reprlib.repr(text)}; it takes one of {', '.join(str(member.value) for member in choices)}")


def as_addresses(value: object, name: str, most: int) -> tuple[str, ...]:
    """One or several non-empty addresses, as a tuple."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Sequence) or isinstance(value, BytesLike):
        raise wrong_type(name, "HOST:PORT, or a list of these", value)
    addresses = tuple([check_text(one, name) for one in value])
    if not 0 < len(addresses) <= most or not all(addresses):
        raise FieldError(name, f"must be HOST:PORT, or 1 to {most} of these, none of them empty")
    return addresses


def check_function(value: object, name: str) -> None:
    """A callable that is not a coroutine function."""
    if not callable(value):
        raise wrong_type(name, "a function", value)
    if inspect.iscoroutinefunction(value):
        raise TypeError(f"{name} must be a plain function, not a coroutine function: it is called, and never awaited")


def as_bytes(data: object, name: str) -> bytes:
    """Encoded media as `bytes`. Other types are copied, so that their owner may reuse them after the call."""
    if type(data) is bytes:
        return data
    if isinstance(data, BytesLike):
        return bytes(data)
    hint = ": pass its .tobytes()" if hasattr(data, "tobytes") else ""
    raise TypeError(f"{name} must be {_PAYLOAD}, not {type(data).__name__}{hint}")


def as_positions(at_us: object, name: str) -> int | list[int] | None:
    """Positions on a media line in µs: one; one per keyframe, rising; or None."""
    if at_us is None:
        return None
    if isinstance(at_us, Sequence) and not isinstance(at_us, str | BytesLike):
        positions = [check_int(position, f"{name}[{index}]", 0, MAX_POSITION_US) for index, position in enumerate(at_us)]
        for index, (before, behind) in enumerate(pairwise(positions), 1):
            if behind <= before:
                raise FieldError(f"{name}[{index}]", f"is {behind}, not behind {before}: positions must increase")
        return positions
    return check_int(at_us, name, 0, MAX_POSITION_US)


def as_payloads(frames: object, name: str) -> list[bytes]:
    """A sequence of payloads as a new list. A single payload is refused: it is a sequence too, of numbers."""
    if type(frames) is list and len(frames) == 1 and type(frames[0]) is bytes:  # nearly all calls, as in `as_sound`
        return frames[:]
    if isinstance(frames, BytesLike):
        raise TypeError(f"{name} must be a list of payloads, not {type(frames).__name__}: pass [payload]")
    if isinstance(frames, str) or not isinstance(frames, Sequence):
        raise TypeError(f"{name} must be a list of payloads, not {type(frames).__name__}")
    return [frame if type(frame) is bytes else as_bytes(frame, f"{name}[{index}]") for index, frame in enumerate(frames)]


def as_sound(data: BytesLike, end: bool) -> bytes:
    """Audio as `bytes`; also checks `end`. Raises `TypeError`."""
    if type(data) is bytes and (end is False or end is True):  # nearly all calls, at the cost of one function call
        return data
    check_bool(end, "end")
    return as_bytes(data, "data")
