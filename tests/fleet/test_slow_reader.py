"""One short round of `tests.lab.chaos.slow_reader`."""

from __future__ import annotations

import argparse

import pytest

from tests.lab.chaos import slow_reader


@pytest.mark.slow
async def test_who_reads_a_byte_a_second_is_shed_and_nobody_else() -> None:
    """It gets a status, its publisher is notified, and no payload of the others is lost."""
    figures = await slow_reader.one(argparse.Namespace(devices=6, seconds=13.0), slow=True)
    assert figures["streams_ended"] == {"LIMIT_REACHED": 1}
    assert figures["publisher_told"]["finished: device_lost"] >= 1
    assert figures["others_lost"] == 0
