"""The stored values of each card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_client.audio.card_memory import FILE_NAME, MAX_CARDS, CardMemory


def test_over_a_restart(tmp_path: Path) -> None:
    """The latest values are read back after a restart."""
    memory = CardMemory(tmp_path)
    memory.learn("a", 20_000)
    memory.learn("a", 50_000)
    memory.close()
    assert CardMemory(tmp_path).buffers_us == {"a": 50_000}


def test_an_offset_and_a_buffer_of_one_card(tmp_path: Path) -> None:
    """Neither write discards the other; an invalid offset is ignored."""
    memory = CardMemory(tmp_path)
    memory.calibrate("a", -120_000)
    assert memory.close()
    memory = CardMemory(tmp_path)
    memory.learn("a", 20_000)
    assert memory.close()
    found = CardMemory(tmp_path)
    assert (found.buffers_us, found.offsets_us) == ({"a": 20_000}, {"a": -120_000})
    (tmp_path / FILE_NAME).write_text(json.dumps({"offsets_us": {"a": 2_000_001, "b": 2_000_000}}))
    assert CardMemory(tmp_path).offsets_us == {"b": 2_000_000}


def test_without_a_folder() -> None:
    """Without a folder the values last for the run."""
    memory = CardMemory(None)
    memory.learn("a", 20_000)
    memory.close()
    assert memory.buffers_us == {"a": 20_000}


def test_the_oldest_is_forgotten(tmp_path: Path) -> None:
    """The file does not grow without bound."""
    memory = CardMemory(tmp_path)
    for number in range(MAX_CARDS + 2):
        memory.learn(str(number), 20_000)
    assert list(memory.buffers_us) == [str(number) for number in range(2, MAX_CARDS + 2)]
    memory.close()


@pytest.mark.parametrize("content", ["{", "[]", '{"buffers_us": 3}', '{"buffers_us": {"a": "x", "b": -1, "c": 1e9, "d": true}}'])
def test_a_broken_file_is_ignored(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    """A broken file is ignored, with one line in the log."""
    (tmp_path / FILE_NAME).write_text(content)
    assert CardMemory(tmp_path).buffers_us == {}
    assert len(caplog.records) == 1


def test_what_is_right_in_a_file_is_kept(tmp_path: Path) -> None:
    """One invalid entry does not affect the others."""
    (tmp_path / FILE_NAME).write_text(json.dumps({"buffers_us": {"a": 20_000, "b": []}}))
    assert CardMemory(tmp_path).buffers_us == {"a": 20_000}
