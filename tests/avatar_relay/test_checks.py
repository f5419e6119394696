"""Argument checks of the public API."""

from __future__ import annotations

import array
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from avatar_relay.checks import FieldError, as_bytes, as_payloads, check_int, check_number, check_text
from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat


def test_numbers_of_other_libraries_become_plain_ones() -> None:
    """Code behind the check then never sees a numpy scalar."""
    audio = AudioFormat(Codec.PCM_S16LE, np.int64(16_000))  # type: ignore[arg-type]
    assert (audio, type(audio.sample_rate_hz)) == (AudioFormat(Codec.PCM_S16LE, 16_000), int)
    motion = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, np.float32(30), ["jawOpen"])  # type: ignore[arg-type]
    assert (motion, type(motion.keyframes_per_second)) == (MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 30.0, ("jawOpen",)), float)
    assert hash(motion)
    assert check_number(Fraction(1, 2), "gain") == 0.5


@pytest.mark.parametrize("value", [True, np.bool_(True), "1", None, 1.0, [1], np.zeros(1, int)])
def test_what_is_no_whole_number(value: object) -> None:
    """Booleans and one-element arrays are refused."""
    with pytest.raises(TypeError, match="n must be a whole number, not"):
        check_int(value, "n", 0, 9)


def test_out_of_range_is_a_value_error_with_the_field() -> None:
    """Including a number too large for a float."""
    with pytest.raises(FieldError, match="n must be from 0 to 9, not 10") as caught:
        check_int(10, "n", 0, 9)
    assert (caught.value.field, isinstance(caught.value, ValueError)) == ("n", True)
    with pytest.raises(FieldError, match="gain is too large"):
        check_number(10**400, "gain")
    assert math.isnan(check_number(math.nan, "gain"))


def test_half_a_surrogate_pair_is_refused() -> None:
    """It cannot be encoded, and would fail when sent."""
    with pytest.raises(FieldError, match="surrogate"):
        check_text("a\ud800", "name")


@pytest.mark.parametrize("data", [bytearray(b"\x01\x02"), memoryview(b"\x01\x02"), memoryview(b"\x01\xff\x02\xff")[::2]])
def test_other_buffers_are_copied(data: Any) -> None:
    """Including a buffer with gaps."""
    assert as_bytes(data, "data") == b"\x01\x02"
    assert type(as_bytes(data, "data")) is bytes


@pytest.mark.parametrize(
    ("data", "text"),
    [("ab", "str$"), (None, "NoneType$"), (array.array("h"), r"pass its \.tobytes"), (np.zeros(2), r"pass its \.tobytes")],
)
def test_what_is_no_media(data: object, text: str) -> None:
    """An array may contain numbers of any type: its owner must convert it to bytes explicitly."""
    with pytest.raises(TypeError, match=f"^data must be bytes, bytearray or memoryview, not .*{text}"):
        as_bytes(data, "data")


def test_media_is_never_shown() -> None:
    """Errors are logged."""
    with pytest.raises(TypeError) as caught:
        check_text(b"speech", "conversation_id")
    assert str(caught.value) == "conversation_id must be a str, not bytes"


def test_payloads_become_a_list_of_their_own() -> None:
    """Later changes to the caller's list have no effect."""
    frames = [b"a", bytearray(b"b")]
    payloads = as_payloads(frames, "frames")
    frames.clear()
    assert payloads == [b"a", b"b"]
    with pytest.raises(TypeError, match=r"frames\[1\] must be bytes, .* not NoneType"):
        as_payloads([b"a", None], "frames")
    for wrong in (b"a", "a", {b"a"}, iter([b"a"]), 3):
        with pytest.raises(TypeError, match="frames must be a list of payloads"):
            as_payloads(wrong, "frames")
