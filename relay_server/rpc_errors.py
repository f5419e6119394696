"""Sends faults as the RPC's status: `google.rpc.Status` with its details in the trailing metadata."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc

from avatar_relay import wire
from avatar_relay.reasons import Fault

Context = grpc.aio.ServicerContext[Any, Any]


async def abort(context: Context, fault: Fault) -> NoReturn:
    """End the RPC with a fault. Always raises grpc's `AbortError`."""
    status = wire.fault_to_status(fault)
    trailing = ((wire.DETAILS_KEY, status.SerializeToString()),)
    await context.abort(grpc.StatusCode[fault.code], fault.text, trailing)
    raise AssertionError("context.abort raises")
