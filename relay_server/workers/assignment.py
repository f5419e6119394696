"""The worker's parameters from the supervisor, passed on standard input: not visible in `ps` or to a worker's child processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from relay_server.config import RelayConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The parameters of one worker that differ from the settings."""

    number: int
    """Counted from 1."""
    supervisor: int
    """The process id of the supervisor; the worker ends with it."""
    listen: str
    """HOST:PORT, with the actual port."""
    admin_listen: str
    cluster_nats: Sequence[str]
    cluster_relay: str
    """The worker's name in the cluster, a new one at each start."""
    siblings: str
    """The common prefix of the names of this supervisor's workers, and of no others."""
    cluster_secret_file: str
    sockets: str = ""
    """A folder for links between workers, which only this user can enter; empty: there is none, as with a supervisor that was started
    by an earlier version."""

    def encode(self) -> bytes:
        """Serialise as JSON."""
        return json.dumps(asdict(self)).encode()

    def of(self, config: RelayConfig) -> RelayConfig:
        """The worker's configuration. Only worker 1 announces the relay; the supervisor writes the port file. Raises `ConfigError`."""
        return replace(
            config,
            workers=1,
            siblings=self.siblings,
            sockets=Path(self.sockets) if self.sockets else None,
            listen=self.listen,
            admin_listen=self.admin_listen,
            cluster_nats=tuple(self.cluster_nats),
            cluster_relay=self.cluster_relay,
            cluster_secret_file=Path(self.cluster_secret_file),
            cluster_listen=_next_port(config.cluster_listen, self.number - 1),
            announce=config.announce if self.number == 1 else "off",
            port_file=None,
        )


def decode_assignment(data: bytes) -> Assignment:
    """Parse the output of `encode`. Raises `ValueError` or `TypeError` for anything else."""
    return Assignment(**json.loads(data))


def _next_port(address: str, number: int) -> str:
    """The same address with a port that is higher by `number`; port 0 remains."""
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + number}" if port not in ("", "0") else address
