"""What a payload of AvatarKit's own traffic costs the relay in Python calls, asyncio's included, beside the least that grpc.aio takes.

Calls are counted, not timed, so a busy machine changes little: when it is late, more messages travel together.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("websockets")
from scripts.bench.cases import REAL
from scripts.bench.contest import CONTENDERS, measure
from scripts.bench.counted import COUNT_FILE

MAX_CALLS = 160
"""Today's figure, rounded up; the aim is 110."""
SESSIONS, SECONDS = 30, 6.0


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions count other events")
def test_real_traffic_takes_few_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay as it is installed, and the floor under the same load."""
    calls = {}
    for name in ("ours", "floor"):
        contender = CONTENDERS[name]
        monkeypatch.setenv(COUNT_FILE, str(tmp_path / name))
        counted = replace(contender, server=("-m", "scripts.bench.counted", *contender.server[1:]))
        calls[name] = measure(counted, replace(REAL, sessions=SESSIONS, seconds=SECONDS))["calls"]
    assert calls["ours"] <= MAX_CALLS, calls
    assert 20 <= calls["floor"] < calls["ours"]
