"""A short part of the faults that `scripts/chaos` and `scripts/soak` produce for minutes and hours; all components are real."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import pytest

from tests.lab.chaos import edge_kills, soak
from tests.lab.chaos import main as chaos
from tests.lab.history import History
from tests.lab.relay_cluster import NATS


async def test_nothing_is_lost_while_everything_breaks(tmp_path: Path) -> None:
    """Relay killed, links cut, reset, stalled: each payload arrives once, whole and in order; each conversation ends."""
    troubles = "relay_killed,device_cut,device_reset,device_stall,publisher_cut"
    options = argparse.Namespace(
        seed=3,
        relays=1,
        nats=1,
        payloads=0,
        seconds=8.0,
        devices=3,
        publishers=2,
        every=0.7,
        rate=200.0,
        only=troubles,
        out=tmp_path,
        log_level="error",
        troubles=0,
        one_by_one=False,
    )
    async with asyncio.timeout(50):
        summary = await chaos.run(options)
    assert summary["violations"] == 0, summary
    assert summary["faults"]["relay_killed"] >= 1
    assert summary["outcomes"]["completed"] >= 3
    assert summary["payloads_received"] > 1_000


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "ends"), [("device", {"completed", "device_lost"}), ("relay", {"completed"})])
async def test_real_devices_outlive_kills(tmp_path: Path, victim: str, ends: set[str]) -> None:
    """Edge clients as programs: each conversation ends, and plays wherever its device survived."""
    options = argparse.Namespace(seed=1, kills=4, devices=1, victim=victim, out=tmp_path)
    summary = await edge_kills.run(options)
    assert summary["violations"] == 0, summary
    assert summary["kills"] == 4
    assert set(summary["outcomes"]) <= ends
    assert summary["outcomes"]["completed"] >= 1


async def test_an_ordinary_load_leaves_nothing_behind(tmp_path: Path) -> None:
    """Conversations, interrupts and cancelled streams; descriptors and threads as before. The slope of memory takes minutes."""
    options = argparse.Namespace(seed=1, minutes=0.08, warm_up=0.03, sessions=3, rate=50.0, every=0.5, out=tmp_path)
    summary = await soak.run(options)
    assert not summary["told"]
    assert summary["cancelled_streams"] > 10
    assert set(summary["grew"]) <= {"pool_threads", "memory"}, "gRPC's threads still come in so short a time"


ALL = (("received", "audio", 1, "a"), ("received", "audio", 2, "b"))


@pytest.mark.parametrize(
    ("lines", "broken"),
    [
        ([*ALL], None),
        ([("received", "audio", 1, "a")], "lost"),
        ([("received", "audio", 1, "a"), ("received", "audio", 1, "a"), ("received", "audio", 2, "b")], "doubled"),
        ([("received", "audio", 2, "b"), ("received", "audio", 1, "a")], "reordered"),
        ([("received", "audio", 1, "a"), ("received", "audio", 2, "x")], "altered"),
        ([("received", "audio", 1, "a"), ("received", "audio", 2, "b"), ("received", "audio", 3, "c")], "never_sent"),
        ([("received", "audio", 1, "a"), ("received", "audio", 2, "b"), ("outcome", "", 0, "completed")], "finished_twice"),
        ([*ALL, ("killed", "", 0, ""), *ALL], None),
        ([*ALL, ("killed", "", 0, ""), *ALL, *ALL], "doubled"),
        ([*ALL, ("killed", "", 0, ""), ("received", "audio", 2, "b")], "doubled"),
        ([*ALL, ("killed", "", 0, ""), ("received", "audio", 1, "a")], "lost"),
    ],
)
def test_the_judge_sees_what_is_broken(tmp_path: Path, lines: list[tuple[str, str, int, str]], broken: str | None) -> None:
    """A checker that finds nothing proves nothing."""
    with History(tmp_path / "history.tsv") as history:
        for seq, detail in ((1, "a"), (2, "b")):
            history.note("d0", "sent", "c-1", "audio", seq, detail)
        for event, kind, seq, detail in (*lines, ("outcome", "", 0, "completed")):
            history.note("d0", event, "c-1", kind, seq, detail)
        verdict = history.check()
    assert (verdict.violations > 0) is (broken is not None)
    if broken is not None:
        assert getattr(verdict, broken) > 0
        assert verdict.told


def test_the_judge_wants_an_end_with_a_reason(tmp_path: Path) -> None:
    """A missing outcome, or an unrequested cut, is a violation; a killed device explains one."""
    with History(tmp_path / "history.tsv") as history:
        for cid in ("c-none", "c-cut", "c-killed", "c-stopped"):
            history.note(cid, "sent", cid, "audio", 1, "a")
        history.note("d", "outcome", "c-cut", detail="interrupted")
        history.note("c-killed", "killed")
        history.note("d", "outcome", "c-killed", detail="device_lost")
        history.note("d", "stopped", "c-stopped")
        history.note("d", "outcome", "c-stopped", detail="interrupted")
        verdict = history.check()
    assert (verdict.without_finished, verdict.cut_without_reason, verdict.violations) == (1, 1, 2)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(NATS is None, reason="nats-server is not installed")
async def test_nothing_is_lost_while_a_cluster_breaks(tmp_path: Path) -> None:
    """Three relays and two NATS servers: each fault at least once, and cuts of connections between them."""
    options = argparse.Namespace(
        seed=1,
        relays=3,
        nats=2,
        links=False,
        payloads=0,
        seconds=0.0,
        devices=4,
        publishers=2,
        every=0.5,
        rate=100.0,
        only="relay_killed,drain,nats_killed,partition,device_cut",
        out=tmp_path,
        log_level="error",
        troubles=12,
        one_by_one=True,
    )
    async with asyncio.timeout(280):
        summary = await chaos.run(options)
    assert summary["violations"] == 0, summary
    assert {"relay_killed", "drain", "nats_killed", "partition"} <= set(summary["faults"])
    assert summary["payloads_received"] > 1_000
