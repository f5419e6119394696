"""Settings changed by operators: the same for relay and device."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.desk_settings import DESK_SETTINGS, refusals
from edge_client.config import SETTINGS


def test_each_is_a_setting_of_the_device_with_the_same_type() -> None:
    (section,) = SETTINGS.sections
    assert {name: section.settings[name].kind for name in DESK_SETTINGS} == dict(DESK_SETTINGS)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("rotation", "400", "takes a whole number from 0 to 270 degrees"),
        ("rotation", "x", "takes a whole number"),
        ("volume", "nan", "takes a number"),
        ("figures", "perhaps", "takes"),
        ("audio_device", "x" * 257, "has 257 characters"),
        ("relay", "evil:1", "cannot be set from here"),
        ("token_file", "/etc/passwd", "cannot be set from here"),
    ],
)
def test_what_cannot_be_is_told_by_name(name: str, value: str, reason: str) -> None:
    assert reason in refusals({name: value, "idle_life": "no"})[name]


@given(st.dictionaries(st.one_of(st.sampled_from(sorted(DESK_SETTINGS)), st.text(max_size=70)), st.text(max_size=300), max_size=5))
def test_nothing_that_is_sent_breaks_the_check(values: dict[str, str]) -> None:
    for name, value in values.items():
        if name not in {full[:64] for full in refusals(values)} and name[:64] not in refusals(values):
            DESK_SETTINGS[name].read(value)
