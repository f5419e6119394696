"""Version names, and hand-written settings files."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.installer.plan import to_remove, typed, version_name, with_settings
from avatar_relay.installer.release import read_sources
from tests.lab.data import PROJECT_ROOT

FILE = """# the lobby
device_id = "lobby"   # by the door
  rotation=0

[table]
rotation = 5
"""


def test_a_version_is_its_content() -> None:
    """Its path and the order of its files do not matter; their content and the installed extras do."""
    name = version_name("0.1.0", {"a": b"1", "b": b"2"}, ["edge"])
    assert name == version_name("0.1.0", {"b": b"2", "a": b"1"}, ["edge"])
    others = [version_name("0.1.0", files, ["edge"]) for files in ({"a": b"1", "b": b"3"}, {"a": b"1b2", "b": b""}, {"a": b"1"})]
    assert len({name, *others, version_name("0.1.0", {"a": b"1", "b": b"2"}, ["edge", "relay"])}) == 5
    assert name.startswith("0.1.0-edge-")


def test_the_sources_of_this_project() -> None:
    """Programs, schema, assets and units; no build products."""
    files = read_sources(PROJECT_ROOT)
    assert {"pyproject.toml", "edge_client/cli.py", "system/edge-client.service", "proto/avatar_relay/media.py"} <= set(files)
    assert any(path.endswith(".proto") for path in files)
    assert not [path for path in files if path.endswith((".pyc", "_pb2.py"))]


def test_settings_are_changed_in_place() -> None:
    """Comments, order and tables are kept; an equal value leaves its line unchanged, a new one is inserted before the tables."""
    changed = with_settings(FILE, {"device_id": "lobby", "rotation": 90, "relay": "a:1", "audio_device": None})
    assert changed == FILE.replace("  rotation=0", "rotation = 90").replace("\n[table]", '\nrelay = "a:1"\n[table]', 1)


KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
VALUES = st.one_of(st.text(st.characters(codec="utf-8")), st.integers(), st.booleans())


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_what_is_written_is_what_is_read(values: dict[str, object]) -> None:
    """Any text is quoted; writing twice equals writing once."""
    once = with_settings("", values)
    assert tomllib.loads(once) == values
    assert with_settings(once, values) == once


def test_a_name_that_no_setting_can_have_is_refused() -> None:
    """It would be another line of the file."""
    with pytest.raises(ValueError, match="no setting"):
        with_settings("", {"a = 1\nb": "x"})


def test_values_of_a_command_line() -> None:
    """As in TOML."""
    assert [typed(text) for text in ("true", "false", "90", "-5", "1.5", "a:1", "")] == [True, False, 90, -5, "1.5", "a:1", ""]


def test_what_is_kept() -> None:
    """The running version and the previous one."""
    assert to_remove(["1", "2", "3", "4"], ("4", "3")) == ["1", "2"]
    assert to_remove(["1"], ("1", None)) == []
