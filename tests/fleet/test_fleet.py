"""A small fleet on a real relay: everything arrives once and in order, even if streams break."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import suppress
from typing import Any

import pytest

from relay_server.config import RelayConfig
from tests.lab.chaos.fleet import Fleet, read_options, simulate
from tests.relay_server.service.wired import wired

UNBOUNDED = 10_000_000
"""The relay's clock does not advance here, so that a rate limit would limit the total."""


async def clean_run(config: RelayConfig, *options: str) -> dict[str, Any]:
    """The summary of a run in which nothing went wrong."""
    async with wired(config) as relay:
        summary = await simulate(read_options([relay.address, *options]))
    assert summary["violations"] == 0, summary
    assert summary["history"]["payloads_sent"] == summary["history"]["payloads_received"] == summary["published"]
    assert set(summary["history"]["outcomes"]) == {"completed"}
    return summary


@pytest.mark.parametrize("tick_us", [0, 10_000], ids=["at once", "tick"])
async def test_nothing_is_lost_doubled_or_reordered(tick_us: int) -> None:
    """With joined payloads, fragments, credit, many concurrent conversations and two publishers."""
    config = RelayConfig(listen="127.0.0.1:0", media_tick_us=tick_us, max_payloads_per_second=UNBOUNDED)
    summary = await clean_run(config, "--devices", "8", "--publishers", "2", "--seconds", "2", "--utterance-s", "2")
    assert summary["published"] > 2_000


async def test_cut_streams_are_resumed() -> None:
    """Devices whose streams break resume where they were."""
    config = RelayConfig(listen="127.0.0.1:0")
    options = ("--devices", "4", "--seconds", "3", "--utterance-s", "1.5", "--pace", "--cut-every-s", "0.4")
    summary = await clean_run(config, *options)
    assert summary["resumed"] > 0


async def test_a_slow_reader_holds_up_nobody() -> None:
    """One device reads almost nothing: the others receive everything, and its data waits at the publisher, not in the relay."""
    async with wired(RelayConfig(listen="127.0.0.1:0", max_payloads_per_second=UNBOUNDED)) as relay:
        options = read_options([relay.address, "--devices", "6", "--slow-readers", "1", "--seconds", "1.5", "--utterance-s", "2"])
        fleet = Fleet(relay.address, options)
        with suppress(TimeoutError):
            async with asyncio.timeout(4):
                await fleet.run()
        (slow, *others) = [relay.relay.operator.session(f"fleet-{number}") for number in range(6)]
        assert all(sum(dataclasses.astuple(session.outbox.waiting_by_kind())) == 0 for session in others)
        assert sum(dataclasses.astuple(slow.outbox.waiting_by_kind())) <= 2 * RelayConfig().window_bytes
        assert all(device.player.counts.finished > 2 for device in fleet.devices[1:])
