"""Credentials do not appear in logs, faults, metrics or errors, at the most verbose log level, with a server that leaks them."""

from __future__ import annotations

import asyncio
import logging
import os

import pytest

from avatar_relay.tracing import start_telemetry
from relay_server.server import unix_time_us
from relay_server.sources.avatarkit import faults, vendor
from relay_server.sources.avatarkit.settings import AvatarKitSettings
from relay_server.sources.avatarkit.telemetry import SdkTelemetry
from relay_server.sources.avatarkit.vendor import make_sdk
from relay_server.telemetry import RelayTelemetry
from tests.lab.otlp import SIGNALS, OtlpReceiver
from tests.relay_server.sources.avatarkit.motion_server import API_KEY, TOKEN, Mode, MotionServer
from tests.relay_server.sources.avatarkit.rig import rig, settings, sound
from tests.relay_server.sources.avatarkit.stages.test_programs import REACHED, search

TALKATIVE = (Mode.WELL, Mode.TOKEN_REFUSED, Mode.TOKEN_BROKEN, Mode.UPGRADE_400, Mode.HANDSHAKE_ERROR, Mode.CLOSE_4010, Mode.ERROR_16)


async def told_by(sdk: str, mode: Mode, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> str:
    """All output of a conversation with a server that leaks the account's secrets."""
    caplog.set_level(logging.DEBUG)
    server = MotionServer(mode, stop_after=1)
    server.echo = f"your key {API_KEY} and token {TOKEN} are not welcome"
    async with OtlpReceiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)  # the exporters read these
        telemetry = start_telemetry("relay-server", "told", "0", os.environ)
        watching = RelayTelemetry(telemetry, unix_time_us)
        async with rig(sdk, server, speed=200, observer=watching, sdk_observer=SdkTelemetry(telemetry)) as house:
            conversation_id = await house.speak(sound(2.5))
            told = repr(house.reports)
        watching.close()
        await asyncio.to_thread(telemetry.shutdown)
    assert conversation_id.encode() in collector.received("trace")
    assert b"avatar.source.conversations" in collector.received("metrics") or b"SOURCE_" in collector.received("metrics")
    exported = "".join(collector.received(signal).decode(errors="replace") for signal in SIGNALS)
    return caplog.text + told + exported + repr([vars(record) for record in caplog.records])


@pytest.mark.parametrize("sdk", ["spatius", "spatialreal"])
@pytest.mark.parametrize("mode", TALKATIVE, ids=lambda mode: mode.name)
async def test_no_credential_is_told(sdk: str, mode: Mode, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the key nor the session's token appears."""
    told = await told_by(sdk, mode, caplog, monkeypatch)
    assert "session=" in told or "SOURCE_" in told
    assert API_KEY not in told
    assert TOKEN not in told


async def test_a_leak_would_be_found(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redaction both appear: the search above can fail."""
    monkeypatch.setattr(vendor.VendorSdk, "_failure", lambda _, error: vendor.failure_of(error))
    monkeypatch.setattr(faults, "clean", lambda text: text)
    told = await told_by("spatius", Mode.CLOSE_4010, caplog, monkeypatch)
    assert API_KEY in told
    assert TOKEN in told


@pytest.mark.parametrize("place", REACHED)
def test_what_real_programs_leave_is_searched_everywhere(place: str) -> None:
    """Checks the script that runs them: a planted secret is found in each place, and an empty place proves nothing."""
    left = {name: b" ".join(words) for name, words in REACHED.items()}
    search(left)
    with pytest.raises(AssertionError, match=f"a credential is in {place}"):
        search(left | {place: left[place] + TOKEN.encode()})
    with pytest.raises(AssertionError, match=f"{place}: holds none"):
        search(left | {place: b""})


def test_settings_and_sdk_do_not_show_the_key() -> None:
    """Wherever they are printed."""
    pytest.importorskip("spatius", reason="the package spatius is not installed")
    account = settings("spatius", MotionServer(), console_url="https://c.test", ingress_url="wss://i.test")
    assert isinstance(account, AvatarKitSettings)
    assert API_KEY not in repr(account) + repr(make_sdk(account, API_KEY))


def test_the_sdk_sends_no_telemetry_to_its_maker() -> None:
    """Unless requested."""
    telemetry = pytest.importorskip("spatius.telemetry", reason="the package spatius is not installed")
    make_sdk(settings("spatius", MotionServer(), console_url="https://c.test", ingress_url="wss://i.test"), API_KEY)
    assert not telemetry.telemetry_enabled()
