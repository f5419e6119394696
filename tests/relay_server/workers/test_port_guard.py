"""An address belongs to one supervisor and its workers."""

from __future__ import annotations

import socket

import pytest

from avatar_relay.errors import ConfigError
from relay_server.workers.port_guard import PortGuard


def shared(address: str) -> socket.socket:
    """Bind as a worker does."""
    host, _, port = address.rpartition(":")
    worker = socket.socket()
    worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    worker.bind((host, int(port)))
    worker.listen()
    return worker


def refuse_one_alone(port: int) -> None:
    """Bind as a single-process relay does; expect a refusal."""
    with socket.socket() as alone, pytest.raises(OSError, match="in use"):
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(("127.0.0.1", port))
        alone.listen()


def test_workers_share_it_and_nobody_else_gets_in() -> None:
    """Holds before and after a worker listens."""
    guard = PortGuard("listen", "127.0.0.1:0")
    port = int(guard.address.rpartition(":")[2])
    refuse_one_alone(port)
    first, second = shared(guard.address), shared(guard.address)
    refuse_one_alone(port)
    first.close()
    second.close()
    refuse_one_alone(port)
    guard.close()
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_second_supervisor_is_refused_by_the_lock() -> None:
    """Holds before the first supervisor's workers listen, too."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    guard = PortGuard("listen", address)
    with pytest.raises(ConfigError, match=rf"listen: {address} cannot be used: another relay runs or starts there"):
        PortGuard("listen", address)
    guard.close()
    PortGuard("listen", address).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_foreign_program_keeps_its_port(host: str) -> None:
    """Holds although that program allows sharing of the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with shared(f"127.0.0.1:{port}"), pytest.raises(ConfigError, match="address already in use"):
        PortGuard("listen", f"{host}:{port}")


def test_connections_that_still_close_are_no_obstacle() -> None:
    """The address of a relay that has just ended is free."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        client = socket.create_connection(address)
        accepted, _ = server.accept()
    accepted.close()  # the end that closes first is in TIME_WAIT
    client.close()
    guard = PortGuard("listen", f"127.0.0.1:{address[1]}")
    shared(guard.address).close()
    guard.close()
