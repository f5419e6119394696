"""Many conversations of random lengths, interrupted at random points: `scripts/sdk/run` has a thousand of them."""

from __future__ import annotations

from tests.relay_server.sources.avatarkit.many import run


async def test_some_conversations() -> None:
    """A small part of the thousand, in a few seconds."""
    totals = await run("spatius", 12, 80.0, seed=7)
    assert totals["completed"] >= 4
    assert totals["interrupted"] >= 1
    assert totals["shown"] >= 4
