"""Notifications to systemd, on a real socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from avatar_relay.service_manager import Heart, ServiceManager


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Systemd's end of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


def heard(systemd: socket.socket) -> list[str]:
    """Return everything received so far."""
    states = []
    while True:
        try:
            states.append(systemd.recv(1_024).decode())
        except BlockingIOError:
            return states


def manager(systemd: socket.socket, **more: str) -> ServiceManager:
    """A manager with the environment set by systemd."""
    return ServiceManager({"NOTIFY_SOCKET": systemd.getsockname(), **more})


def test_states_arrive(systemd: socket.socket) -> None:
    """Compared exactly."""
    told = manager(systemd)
    told.tell("READY=1")
    told.tell("STOPPING=1")
    assert heard(systemd) == ["READY=1", "STOPPING=1"]


def test_abstract_sockets_are_understood() -> None:
    """A leading @ stands for a NUL byte."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0avatar-relay-test-notify")
        ServiceManager({"NOTIFY_SOCKET": "@avatar-relay-test-notify"}).tell("READY=1")
        assert listener.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens() -> None:
    """Nor if its socket is gone."""
    ServiceManager({}).tell("READY=1")
    ServiceManager({"NOTIFY_SOCKET": "/nowhere/notify"}).tell("READY=1")
    assert ServiceManager({"WATCHDOG_USEC": "1000000"}).watchdog_us == 0


def test_the_watchdog_may_be_for_another_process(systemd: socket.socket) -> None:
    """A child must not send watchdog pings for its parent."""
    assert manager(systemd, WATCHDOG_USEC="4000000").watchdog_us == 4_000_000
    assert manager(systemd, WATCHDOG_USEC="4000000", WATCHDOG_PID="1").watchdog_us == 0


def test_the_heart_beats_while_all_parts_live(systemd: socket.socket) -> None:
    """Sent at a quarter of the watchdog's interval; a part stuck for half of it stops the pings until it recovers."""
    now = [0]
    heart = Heart(manager(systemd, WATCHDOG_USEC="4000000"), ("link", "face"), lambda: now[0])
    for now[0] in range(0, 3_000_001, 100_000):
        heart.beat("link")
        heart.beat("face")
    assert heard(systemd) == ["WATCHDOG=1"] * 3
    for now[0] in range(3_100_000, 9_000_001, 100_000):
        heart.beat("link")
    assert heard(systemd) == ["WATCHDOG=1"]
    heart.beat("face")
    assert heard(systemd) == ["WATCHDOG=1"]
