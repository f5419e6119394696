"""Shared by the device and the publisher library as gRPC clients: channel options, and the fault in a status."""

from __future__ import annotations

from typing import Any

from avatar_relay.limits import GRPC_MAX_RECEIVE_BYTES, MAX_MESSAGE_BYTES, PEER_TIMEOUT_US
from avatar_relay.reasons import Fault, Reason
from avatar_relay.wire import fault_in

CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", GRPC_MAX_RECEIVE_BYTES),
    ("grpc.min_reconnect_backoff_ms", PEER_TIMEOUT_US // 1_000),  # gRPC's time limit for a connection without an answer; default 20 s
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.service_config", '{"loadBalancingConfig":[{"pick_first":{"shuffleAddressList":true}}]}'),  # a name may have several addresses
)


def fault_of(code: str, text: str | None, trailers: Any) -> Fault | None:
    """The fault in a status, `code` by name; None if it has none that can be read.

    A message beyond the receiver's gRPC limit is refused by gRPC itself, without details: that is recognized by its text.
    """
    if code == "RESOURCE_EXHAUSTED" and "message larger than max" in (text or ""):
        return Fault(Reason.MESSAGE_TOO_LARGE, f"a message of more than {MAX_MESSAGE_BYTES} bytes: send smaller ones ({text})"[:300])
    return fault_in(trailers)
