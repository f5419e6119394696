"""From unpacking to a relay in one network: relays announce themselves; devices find one, pair with it, and find it again."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import grpc
import pytest

from avatar_relay.reasons import Reason
from avatar_relay.v1 import device_service_pb2 as device_pb
from avatar_relay.v1 import media_pb2 as media
from edge_client.config import EdgeConfig
from edge_client.inputs import credentials_of
from edge_client.link import relay_choice, relay_finder
from edge_client.link.attach_call import Endpoint
from edge_client.link.browser import Browser
from edge_client.link.relay_choice import RelayChoice
from edge_client.link.relay_finder import RelayFinder, SearchClock
from relay_server.announcer import Announcer
from tests.relay_server.access.guarded import Authority
from tests.relay_server.service.unpaired import ATTACH, Desk, desk

DEVICES = 5
PATIENCE_S = 50.0
SAID = "announced in the network as "
SERVICE = f"_avr-{os.getpid() % 100_000}._tcp.local."
"""Separates concurrent runs of these tests on this machine."""


@pytest.fixture(autouse=True)
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Discover on the loopback interface only, and never on the relay's default port, which other programs may use."""
    monkeypatch.setattr(relay_finder, "LOCAL_RELAY", "127.0.0.1:1")
    browse = functools.partial(Browser, service=SERVICE, interfaces=["127.0.0.1"])
    monkeypatch.setattr(relay_choice, "RelayFinder", functools.partial(RelayFinder, browse=browse))


@asynccontextmanager
async def announced(relay: Desk, caplog: pytest.LogCaptureFixture) -> AsyncIterator[str]:
    """Announce the relay; return the name it was assigned."""
    before = len(caplog.messages)
    address = f"127.0.0.1:{relay.address.rpartition(':')[2]}"
    task = asyncio.create_task(Announcer(address, tls=True, pairing=True, service=SERVICE).run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (names := [line for line in caplog.messages[before:] if line.startswith(SAID)]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        yield names[0].rpartition(" ")[2]
    finally:
        task.cancel()
        await asyncio.wait({task})


class Device:
    """A device before it attaches, on its own thread."""

    def __init__(self, name: str, folder: Path, stopped: threading.Event) -> None:
        config = EdgeConfig(device_id=name)
        clock = SearchClock(lambda: time.monotonic_ns() // 1_000, stopped.wait)
        self.choice = RelayChoice(config, name, folder, clock, os.urandom)
        self.endpoint: asyncio.Task[Endpoint | None] = asyncio.create_task(
            asyncio.to_thread(self.choice.endpoint, credentials_of(config)), name=name
        )

    async def shows(self) -> str:
        """NAME-CODE."""
        async with asyncio.timeout(PATIENCE_S):
            while not (shown := self.choice.shown):
                assert not self.endpoint.done()
                await asyncio.sleep(0.05)
        return shown


@contextmanager
def switched_on(folder: Path) -> Iterator[list[Device]]:
    """Five devices, each with its own state folder."""
    stopped = threading.Event()
    try:
        yield [Device(f"device-{number}", folder / f"device-{number}", stopped) for number in range(DEVICES)]
    finally:
        stopped.set()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_five_devices_pair_with_one_of_two_relays_and_find_it_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All select the same relay by the rule; two of them pair at once. Later they return to it, whatever else is announced."""
    caplog.set_level(logging.INFO)
    authority = Authority(tmp_path)
    async with (
        desk(authority, tmp_path / "first") as first,
        desk(authority, tmp_path / "second") as second,
        announced(first, caplog) as name,
        announced(second, caplog) as other,
    ):
        assert name != other
        taken, left = (first, second) if name < other else (second, first)
        with switched_on(tmp_path) as devices:
            shown = [await device.shows() for device in devices]
            assert await left.pair(shown[0]) == (grpc.StatusCode.NOT_FOUND, Reason.PAIRING_UNKNOWN)
            at_once = await asyncio.gather(*(taken.pair(one) for one in shown[:2]))
            assert [*at_once, *[await taken.pair(one) for one in shown[2:]]] == [(grpc.StatusCode.OK, None)] * DEVICES
            async with asyncio.timeout(PATIENCE_S):
                endpoints = [await device.endpoint for device in devices]
        ports = {endpoint.address.rpartition(":")[2] for endpoint in endpoints if endpoint is not None}
        assert ports == {taken.address.rpartition(":")[2]}
        names = {f"device device-{number}" for number in range(DEVICES)}
        assert names <= set(taken.access.file.load().identities) and not names & set(left.access.file.load().identities)
        for endpoint in endpoints:
            assert endpoint is not None
            ping = device_pb.AttachRequest(ping=media.Ping(id=1))
            token = endpoint.credentials().token
            assert await taken.call(ATTACH, token, ping) == (grpc.StatusCode.INVALID_ARGUMENT, Reason.HELLO_MISSING)  # it is admitted
            assert await left.call(ATTACH, token, ping) == (grpc.StatusCode.UNAUTHENTICATED, Reason.CREDENTIALS_INVALID)
            assert token is not None and token not in caplog.text
        with switched_on(tmp_path) as devices:
            async with asyncio.timeout(PATIENCE_S):
                again = [await device.endpoint for device in devices]
        assert [one.address for one in again if one] == [one.address for one in endpoints if one]
