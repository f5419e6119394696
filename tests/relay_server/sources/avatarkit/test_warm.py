"""Warm sessions: no new token, no new WebSocket; and sessions that end while idle."""

from __future__ import annotations

import asyncio

import pytest

from relay_server.sources.avatarkit.session_stock import SessionState
from tests.relay_server.sources.avatarkit.motion_server import Mode, MotionServer
from tests.relay_server.sources.avatarkit.rig import PATIENCE_S, rig, sound


@pytest.mark.parametrize("sdk", ["spatius", "spatialreal"])
async def test_a_warm_conversation_needs_no_handshake(sdk: str) -> None:
    """From its first sound, and also after an interrupt."""
    server = MotionServer()
    async with rig(sdk, server, speed=100, warm_sessions=1) as house:
        await house.until_warm()
        asked = (server.counts.tokens, server.counts.upgrades, server.counts.handshakes)
        assert asked == (1, 1, 1)
        await house.speak(sound(2.2))
        cut = await house.begin(sound(9.0))
        cut.interrupt()
        await cut.finish()
        await house.until_finished(cut.conversation_id)
        await house.until_warm()
        await house.speak(sound(2.2))
        assert (server.counts.tokens, server.counts.upgrades, server.counts.handshakes) == asked
        assert set(house.watched.warm) == {True}
        assert house.watched.failures == []


async def test_all_sessions_are_closed_with_the_pool() -> None:
    """None is left to be charged for."""
    server = MotionServer()
    async with rig("spatius", server, warm_sessions=2, max_sessions=2) as house:
        while house.pool.count(SessionState.IDLE) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert server.counts.open_sessions == 2
        await house.pool.close()
        await asyncio.sleep(0.05)
        assert server.counts.open_sessions == 0
        assert house.pool.count() == 0


@pytest.mark.parametrize("mode", [Mode.HANDSHAKE_TEXT, Mode.CLOSE_AT_ONCE], ids=lambda mode: mode.name)
async def test_a_warm_session_that_can_not_be_kept_is_not_asked_for_again_and_again(mode: Mode) -> None:
    """For any reason: each attempt is delayed longer than the one before."""
    server = MotionServer(mode)
    async with rig("spatius", server, warm_sessions=1, jitter=1.0) as house:
        async with asyncio.timeout(PATIENCE_S):
            while len(house.watched.failures) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)  # the third attempt comes a second after the second
        assert server.counts.upgrades == 2


async def test_no_region_is_looked_up_where_urls_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the SDK would ask its vendor's servers for the nearest region."""
    package = pytest.importorskip("spatius.avatar_session", reason="the package spatius is not installed")
    asked: list[object] = []
    monkeypatch.setattr(package, "resolve_region_with_cache_info", lambda *arguments, **named: asked.append((arguments, named)))
    async with rig("spatius", MotionServer(), warm_sessions=1) as house:
        await house.until_warm()
    assert asked == []
