"""The bars of `scripts/attack`: each figure is shown beside its limit, and a missed one is a fault."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from avatar_relay.credentials import metadata_of
from relay_server.access.scopes import Role
from relay_server.service import grpc_servers
from relay_server.service.interceptor import RequestInterceptor
from tests.lab.attack.http2 import ATTACH
from tests.lab.attack.insiders import MINE, hello
from tests.lab.attack.main import Verdict, row
from tests.lab.attack.mix import LEAK_BYTES, Mixed
from tests.lab.chaos import tapped_relay
from tests.relay_server.access.guarded import Access, guarded

VERDICT = Verdict("an attack", "much", True, (50, 114, 82), 10, 95, 5, 2.0, 60.0, 10.0, False, 0)
MIXED = Mixed(
    minutes=30.0,
    attacks=2,
    failed=0,
    not_begun=[],
    rss_mib={"start": 50.0, "most": 200.0, "attacked": 150.0, "end": 114.0},
    most_during=[],
    cancelled=0,
    slope_mb_per_h=4.0,
    log_lines_per_minute=0.0,
    attaches=95,
    attach_failed=5,
    attach_worst_s=1.0,
    devices_lost=[],
    resumptions=0,
    saw_another_tenant=[],
    unfinished=0,
    histories={"violations": 0},
)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"rss_mib": (50, 115, 50)}, "memory"),
        ({"rss_mib": (50, 114, 83)}, "memory after"),
        ({"log_lines": 11}, "log"),
        ({"attach_failed": 6}, "attach"),
        ({"attach_worst_s": 2.1}, "attach"),
        ({"p99_ms": 60.1}, "media"),
        ({"saw_another_tenant": True}, "another tenant"),
        ({"devices_lost": 1}, "devices lost"),
        ({"ran": False}, "attacker"),
    ],
)
def test_what_exceeds_a_limit_is_a_fault(change: dict[str, Any], fault: str) -> None:
    assert VERDICT.faults() == []
    assert replace(VERDICT, **change).faults() == [fault]


def test_a_row_has_each_figure_with_its_limit() -> None:
    assert row(VERDICT).endswith(
        "| 50 → 114 (≤ 114) | 82 (≤ 82) | 10 (≤ 10) | 95 of 100, 2.0 s (≥ 95%, ≤ 2 s) | 60.0 (≤ 10.0 + 50) | held |"
    )
    assert row(replace(VERDICT, log_lines=11)).endswith("| **11 (≤ 10)** | 95 of 100, 2.0 s (≥ 95%, ≤ 2 s) | 60.0 (≤ 10.0 + 50) | log |")


def test_the_mix_may_keep_what_cancelled_streams_leak() -> None:
    more = {"start": 50.0, "most": 200.0, "attacked": 150.0, "end": 115.0}
    assert MIXED.faults() == []
    assert replace(MIXED, rss_mib=more).faults() == ["memory after the quiet phase, MiB"]
    assert replace(MIXED, rss_mib=more, cancelled=(1 << 20) // LEAK_BYTES).faults() == []


def test_the_slope_counts_only_after_long_runs() -> None:
    assert replace(MIXED, slope_mb_per_h=4.1).faults() == ["slope, MB/h"]
    assert replace(MIXED, slope_mb_per_h=4.1, minutes=4.0).faults() == []


async def test_cancelled_streams_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused stream does not count; one that its device cancels does."""
    monkeypatch.setattr(grpc_servers, "RequestInterceptor", RequestInterceptor)  # restored at the end
    figures, access = tapped_relay.Tapped(), Access(tmp_path)
    tapped_relay.count_cancelled(figures)
    token = access.add(Role.DEVICE, MINE)
    async with guarded(access) as relay, grpc.aio.insecure_channel(relay.address) as channel:
        attach: Any = channel.stream_stream(ATTACH)
        assert await attach().code() is grpc.StatusCode.UNAUTHENTICATED
        call = attach(metadata=metadata_of(token))
        await call.write(hello())
        await call.read()
        call.cancel()
        async with asyncio.timeout(5):
            while not figures.cancelled:  # noqa: ASYNC110 - the figures notify nobody
                await asyncio.sleep(0.01)
    assert figures.cancelled == 1
