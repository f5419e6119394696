"""The attacks of `scripts/attack` against the real programs: what once broke them must not do so again.

Media latency is not checked here: it depends on the machine, and `scripts/attack` compares it with a control.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SECONDS = 4.0
ON_RELAY = [
    *("half-sent ListDevices", "half-sent Attach", "health checks of rubbish", "random bytes", "gzip bombs, health"),
    *("idle HTTP/2 connections", "rapid reset, Attach", "unknown methods", "headers of 15 MB without end", "TLS handshakes without end"),
    *("open with 590,000 targets", "Speak with 4 MB", "events with reasons of 3 MB", "opens with 250 names of 15 KB"),
    *("1.9 million empty payloads", "half-sent Publish, credentials", "WatchEvents without end", "another tenant's conversation"),
]
ON_DEVICE = [
    *("opens with 250 names of 15 KB", "1.9 million empty payloads", "motion beyond the credit", "errors with control characters"),
    *("another text of control characters each time", "a welcome with 500,000 lost conversations", "goaway at once"),
]


@pytest.mark.parametrize("name", ON_RELAY)
async def test_on_a_relay(name: str, tmp_path: Path) -> None:
    """Checks memory, log, other callers, other tenants."""
    from tests.lab.attack.main import one  # makes its messages, which takes seconds, also if this slow test is only collected

    verdict = await one(name, tmp_path, SECONDS, devices=1)
    assert set(verdict.faults()) <= {"media"}, verdict


@pytest.mark.parametrize("name", ON_DEVICE)
async def test_on_a_device(name: str, tmp_path: Path) -> None:
    """It survives, stays small, keeps its log short and plain, and stops on request."""
    from tests.lab.attack.device_side import attack_device  # see above

    verdict = await attack_device(name, tmp_path, SECONDS)
    assert verdict.faults() == [], verdict


async def test_a_hundred_devices_behind_the_attackers_address(tmp_path: Path) -> None:
    """All stay attached, and another one is admitted."""
    from tests.lab.attack.main import one  # see above

    verdict = await one("rapid reset, Attach", tmp_path, SECONDS, devices=100)
    assert set(verdict.faults()) <= {"media", "memory"}, verdict
