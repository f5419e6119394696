"""The report of `edge-client doctor`, part by part; the whole command with a real relay is a slow test."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from avatar_relay.announcement import Announcement
from edge_client import inputs
from edge_client.audio.outputs import Card, OutputDevice
from edge_client.checkup import doctor
from edge_client.checkup.findings import Finding, Health
from edge_client.checkup.kernel_files import Throttling
from edge_client.checkup.relay_checks import check_relay
from edge_client.config import EdgeConfig
from edge_client.errors import SinkError
from edge_client.inputs import endpoint_of
from edge_client.link import relay_finder
from edge_client.link.browser import Browser
from edge_client.link.relay_finder import FoundRelay, RelayFinder
from edge_client.local_clock import clock_is_synchronised
from edge_client.stored_settings import desk_settings_file
from relay_server.access.scopes import Role
from relay_server.server import RelayServer
from tests.edge_client.checkup.test_kernel_files import ROUTES, put
from tests.lab.programs import python
from tests.relay_server.access.guarded import Access, Authority, over_tls

USB = OutputDevice(1, "hw:CARD=Device,DEV=0", "USB Audio", Card(1, "Device", "USB Audio"))
NOW_S = 1_800_000_000


def port_of(server: RelayServer) -> str:
    """The address of a listening server."""
    return server.addresses[0].rpartition(":")[2]


def healths(findings: list[Finding]) -> list[tuple[str, str]]:
    """Parts and their states."""
    return [(found.part, found.health.value) for found in findings]


def test_a_free_card(tmp_path: Path) -> None:
    """Without a name the first card is checked."""
    (found,) = doctor.check_card(EdgeConfig(audio_device="usb"), tmp_path, [USB])
    assert (found.health, found.text) == (Health.OK, "USB Audio (Device) is there and free")


@pytest.mark.parametrize(("program", "health"), [("pulseaudio", Health.WARNING), ("edge-client", Health.OK)])
def test_a_card_that_is_held(program: str, health: Health, tmp_path: Path) -> None:
    """If another program holds it, a warning with advice; if the client does, none."""
    put(tmp_path, "proc/asound/card1/pcm0p/sub0/status", "owner_pid   : 77\n")
    put(tmp_path, "proc/77/comm", program)
    (found,) = doctor.check_card(EdgeConfig(audio_device="Device"), tmp_path, [USB])
    assert found.health is health
    assert f"{program} (process 77)" in found.text


@pytest.mark.parametrize(("wanted", "listed"), [("", []), ("hdmi", [USB])])
def test_no_such_card(wanted: str, listed: list[OutputDevice], tmp_path: Path) -> None:
    """A missing card fails: none at all, or not the one in the settings."""
    if not wanted:
        listed = [OutputDevice(0, "default", "")]
    (found,) = doctor.check_card(EdgeConfig(audio_device=wanted), tmp_path, listed)
    assert found.health is Health.FAILED
    assert found.advice


def test_the_clock() -> None:
    """The clock was never set, set by hand, synchronised, or is unknown."""
    assert doctor.check_clock(True, NOW_S, tls=True).health is Health.OK
    assert doctor.check_clock(False, NOW_S, tls=True).health is Health.WARNING
    assert doctor.check_clock(None, NOW_S, tls=True).health is Health.WARNING
    assert doctor.check_clock(False, 0, tls=False).health is Health.WARNING
    assert doctor.check_clock(False, 0, tls=True).health is Health.FAILED


def test_the_kernel_is_asked_for_the_clock() -> None:
    """The field `status` is used: it agrees with the return value, which is TIME_ERROR if the clock is not synchronised."""
    assert clock_is_synchronised() in (True, False)


def test_the_way_out(tmp_path: Path) -> None:
    """A default route is not needed for a relay on this machine."""
    assert doctor.check_network(EdgeConfig(relay=("192.0.2.1:1",)), tmp_path).health is Health.WARNING
    assert doctor.check_network(EdgeConfig(relay=("127.0.0.1:1",)), tmp_path).health is Health.OK
    put(tmp_path, "proc/net/route", ROUTES)
    assert doctor.check_network(EdgeConfig(relay=("192.0.2.1:1",)), tmp_path).text == "default route by wlan0"


def test_throttling() -> None:
    """Current throttling is a failure, past throttling a warning, and so is heat."""
    assert doctor.check_throttling(Throttling(("low",)), 50).health is Health.FAILED
    assert doctor.check_throttling(Throttling((), ("low",)), 50).health is Health.WARNING
    assert doctor.check_throttling(Throttling(), 85).health is Health.WARNING
    assert doctor.check_throttling(Throttling(), None).health is doctor.check_throttling(None, 50).health is Health.OK


def test_a_relay_that_does_not_answer() -> None:
    """The connection is refused, or the name cannot be resolved."""
    (refused,) = check_relay(endpoint_of(EdgeConfig(relay=("127.0.0.1:1",))))
    assert refused.health is Health.FAILED
    assert "Connection refused" in refused.text
    (unknown,) = check_relay(endpoint_of(EdgeConfig(relay=("no-such-name.invalid:1",))))
    assert "no-such-name.invalid is not found" in unknown.text
    assert len(doctor.check_link(EdgeConfig(relay=("127.0.0.1:1", "127.0.0.1:2")))) == 2


@pytest.mark.parametrize(
    ("found", "parts", "advice"),
    [
        (None, [("relay", "failed")], "announce = on"),
        (FoundRelay("192.0.2.1:52000", True, "hall", pairing=True), [("relay", "ok"), ("token", "warning")], "relayctl pair NAME-CODE"),
        (FoundRelay("127.0.0.1:1", False), [("relay", "failed")], "start the relay"),
    ],
)
def test_a_relay_that_is_searched(
    found: FoundRelay | None, parts: list[tuple[str, str]], advice: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without an address and a pairing, a relay is searched."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(inputs, "find_relay", lambda config, within_s: found)
    findings = doctor.check_link(EdgeConfig())
    assert healths(findings) == parts
    assert advice in findings[-1].advice


def test_a_search_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nobody(Browser):
        def __init__(self) -> None: ...

        def found(self) -> list[Announcement]:
            return []

        def close(self) -> None: ...

    monkeypatch.setattr(relay_finder, "LOCAL_RELAY", "127.0.0.1:1")
    monkeypatch.setattr(inputs, "RelayFinder", functools.partial(RelayFinder, browse=Nobody))
    assert inputs.find_relay(EdgeConfig(), 0.05) is None


def test_what_operators_set_counts_for_checkups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    config = EdgeConfig(device_id="lobby", audio_device="usb")
    assert inputs.as_operators_set(config) == config
    desk_settings_file(tmp_path / "edge-client", "lobby").write({"settings": {"audio_device": "hdmi"}, "revision": 1})
    assert inputs.as_operators_set(config).audio_device == "hdmi"


async def test_a_relay_that_asks_for_a_token(tmp_path: Path) -> None:
    """The right token, a wrong one, another authority, and plaintext to TLS. No token is shown."""
    access, authority = Access(tmp_path), Authority(tmp_path)
    token, wrong = tmp_path / "token", tmp_path / "wrong"
    token.write_text(access.add(Role.DEVICE, "lobby"))
    wrong.write_text("not-a-token-of-this-relay")
    for file in (token, wrong):
        file.chmod(0o600)
    other = Authority(tmp_path, "other")
    async with over_tls(authority, access) as server:

        async def found(**settings: Any) -> list[Finding]:
            config = EdgeConfig(relay=(f"localhost:{port_of(server)}",), **settings)
            return await asyncio.to_thread(doctor.check_link, config)

        ca = authority.certificate
        assert healths(await found(tls_ca_file=ca, token_file=token)) == [("relay", "ok"), ("token", "ok")]
        refused = await found(tls_ca_file=ca, token_file=wrong)
        assert healths(refused) == [("relay", "ok"), ("token", "failed")]
        assert wrong.read_text() not in str(refused)
        wrong.chmod(0o644)
        assert ("token file", "warning") in healths(await found(tls_ca_file=ca, token_file=wrong))
        (certificate,) = await found(tls_ca_file=other.certificate, token_file=token)
        assert certificate.health is Health.FAILED
        assert "vouched for" in certificate.advice
        (plaintext,) = await found()
        assert "TLS" in plaintext.advice


def test_a_check_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that fails is a finding; the other checks continue."""

    def fail(*_: object) -> list[Finding]:
        raise SinkError("it broke")

    def fine() -> list[Finding]:
        return []

    monkeypatch.setattr(doctor, "check_card", fail)
    monkeypatch.setattr(doctor, "check_lip_sync", fine)
    monkeypatch.setattr(doctor, "check_screen", lambda config: [])
    first, *others = doctor.examine(EdgeConfig(relay=("127.0.0.1:1",)))
    assert (first.part, first.health) == ("card", Health.WARNING)
    assert "it broke" in first.text
    assert "throttling" in [found.part for found in others]


@pytest.mark.slow
async def test_the_command_with_a_real_relay(tmp_path: Path) -> None:
    """Every part is reported, in JSON too, and neither contains the token."""
    access, authority = Access(tmp_path), Authority(tmp_path)
    token = tmp_path / "token"
    token.write_text(access.add(Role.DEVICE, "lobby"))
    async with over_tls(authority, access) as server:
        flags = [
            "--relay",
            f"localhost:{port_of(server)}",
            "--tls-ca-file",
            str(authority.certificate),
            "--token-file",
            str(token),
            "--headless",
        ]
        command = [*python("edge_client"), "doctor", "--json", *flags]
        done = await asyncio.to_thread(subprocess.run, command, env=os.environ, capture_output=True, text=True, timeout=55, check=False)
    report = json.loads(done.stdout)
    parts = {found["part"]: found["health"] for found in report["findings"]}
    assert {"card", "screen", "gl", "groups", "clock", "network", "relay", "token", "throttling", "lip-sync"} <= set(parts)
    assert (parts["relay"], parts["token"], parts["lip-sync"]) == ("ok", "ok", "ok"), report
    assert token.read_text() not in done.stdout + done.stderr
