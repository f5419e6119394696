"""The relay's program as a later version may be: to other relays it says more than today's relays know.

It supports one more version of the tunnel, appends a field to its claims, and begins each message of a tunnel with a record
of an unknown kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import Any

from relay_server.cli import main
from relay_server.cluster import cluster
from relay_server.cluster.claims import Claim
from relay_server.cluster.frames import TUNNEL_VERSION, FrameWriter, RecordKind, TunnelRecord

UNKNOWN_KIND: Any = max(RecordKind) + 1
"""A record's kind is an int on the way."""
_encode, _messages = Claim.encode, FrameWriter.messages


def _claim(claim: Claim) -> bytes:
    return json.dumps([*json.loads(_encode(claim)), "said by a later version"]).encode()


def _frames(writer: FrameWriter, records: Iterable[TunnelRecord]) -> list[bytes]:
    return _messages(writer, [TunnelRecord(UNKNOWN_KIND, b"said by a later version"), *records])


if __name__ == "__main__":
    setattr(cluster, "Cluster", partial(cluster.Cluster, tunnel_version=TUNNEL_VERSION + 1))  # noqa: B010 - mypy: a type cannot be assigned to
    setattr(Claim, "encode", _claim)  # noqa: B010 - mypy: a method cannot be assigned to
    setattr(FrameWriter, "messages", _frames)  # noqa: B010
    main()
