"""What the load generator reports of a measured interval."""

from __future__ import annotations

import os
from math import inf

from scripts.bench.load import Meter
from scripts.bench.sessions import carried


def test_an_interval_without_a_payload_is_a_result() -> None:
    """A search for the number of sessions goes on; it crashed."""
    meter = Meter(os.getpid(), port=1, fan_out=1)
    meter.begin()
    figures = meter.end()
    assert figures["p99_ms"] == inf
    assert not carried(640, figures)
