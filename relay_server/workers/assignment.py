"""What the supervisor tells a worker at its start, on its standard input: neither `ps` nor a child of the worker's sees it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from relay_server.config import RelayConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What one worker does differently from what the settings say."""

    number: int
    """From 1."""
    supervisor: int
    """The process id of the supervisor: the worker ends with it."""
    listen: str
    """With the real port."""
    admin_listen: str
    cluster_nats: Sequence[str]
    cluster_relay: str
    """The worker's name in the cluster, at each start another one."""
    siblings: str
    """What the names of all workers of this supervisor, and only they, begin with."""
    cluster_secret_file: str

    def encode(self) -> bytes:
        """As bytes."""
        return json.dumps(asdict(self)).encode()

    def of(self, config: RelayConfig) -> RelayConfig:
        """The worker's configuration. The first one announces the relay, and the supervisor writes the port. Raises `ConfigError`."""
        return replace(
            config,
            workers=1,
            siblings=self.siblings,
            listen=self.listen,
            admin_listen=self.admin_listen,
            cluster_nats=tuple(self.cluster_nats),
            cluster_relay=self.cluster_relay,
            cluster_secret_file=Path(self.cluster_secret_file),
            announce=config.announce if self.number == 1 else "off",
            port_file=None,
        )


def decode_assignment(data: bytes) -> Assignment:
    """What `encode` made. Raises `ValueError` and `TypeError` for anything else."""
    return Assignment(**json.loads(data))
