"""What a program writes is read whole, however it writes."""

import re

import pytest

from scripts.bench import start_up

WRITES = """
import os, time
os.write(1, b"-" * 20000)
for number in range(3000):
    os.write(1, b"%d " % number)
    time.sleep(2e-5)
time.sleep(60)
"""


def test_output_written_in_pieces_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading must not move the offset that the program shares."""
    monkeypatch.setattr(start_up, "LOOK_S", 0.0)
    monkeypatch.setattr(start_up, "WAIT_S", 10.0)
    expected = "-" * 20000 + "".join(f"{number} " for number in range(3000))
    assert start_up.until_said(("-c", WRITES), f"^{re.escape(expected)}$") < 10
