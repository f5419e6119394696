"""Credentials: not in logs, faults, metrics or errors, at the most talkative log level, from a server that gives them away."""

from __future__ import annotations

import logging

import pytest

from avatar_relay.media import TraceContext
from relay_server.sources.avatarkit.settings import AvatarKitSettings
from relay_server.sources.avatarkit.vendor import make_sdk
from tests.relay_server.sources.avatarkit.rig import rig, settings, sound
from tests.standins.motion_server import API_KEY, TOKEN, Mode, MotionServer

TALKATIVE = (Mode.WELL, Mode.TOKEN_REFUSED, Mode.TOKEN_BROKEN, Mode.UPGRADE_400, Mode.HANDSHAKE_ERROR, Mode.CLOSE_4010, Mode.ERROR_16)


@pytest.mark.parametrize("sdk", ["spatius", "spatialreal"])
@pytest.mark.parametrize("mode", TALKATIVE, ids=lambda mode: mode.name)
async def test_no_credential_is_told(sdk: str, mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    """The key and the session's token."""
    caplog.set_level(logging.DEBUG)
    server = MotionServer(mode, stop_after=1)
    server.echo = f"your key {API_KEY} and token {TOKEN} are not welcome"
    traced: list[str] = []

    def trace(conversation_id: str) -> TraceContext:
        traced.append(conversation_id)
        return TraceContext()

    async with rig(sdk, server, speed=200, trace=trace) as house:
        conversation_id = await house.speak(sound(2.5))
        assert traced == [conversation_id]
        told = caplog.text + repr(house.reports) + repr(house.watched) + repr([vars(record) for record in caplog.records])
    assert "session=" in told or "SOURCE_" in told
    assert API_KEY not in told
    assert TOKEN not in told


def test_settings_and_sdk_do_not_show_the_key() -> None:
    """Wherever they are printed."""
    pytest.importorskip("spatius", reason="the package spatius is not installed")
    account = settings("spatius", MotionServer(), console_url="https://c.test", ingress_url="wss://i.test")
    assert isinstance(account, AvatarKitSettings)
    assert API_KEY not in repr(account) + repr(make_sdk(account, API_KEY))


def test_the_sdk_sends_no_telemetry_to_its_maker() -> None:
    """Unless that was asked for."""
    telemetry = pytest.importorskip("spatius.telemetry", reason="the package spatius is not installed")
    make_sdk(settings("spatius", MotionServer(), console_url="https://c.test", ingress_url="wss://i.test"), API_KEY)
    assert not telemetry.telemetry_enabled()
