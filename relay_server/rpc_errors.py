"""Sends faults as the RPC's status: `google.rpc.Status` with its details in the trailing metadata."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import grpc

from avatar_relay import wire
from avatar_relay.reasons import Fault

Context = grpc.aio.ServicerContext[Any, Any]


CANCELLATION_ARRIVES_WITHIN_S = 0.01
"""Time in which grpc.aio cancels the handler of an RPC that its caller has cancelled already, for example one that was reset at once."""


async def until_cancelled(seconds: float = CANCELLATION_ARRIVES_WITHIN_S) -> None:
    """Give gRPC time to cancel this RPC. Await it before an answer to a caller that may be hostile.

    An answer to a cancelled RPC fails, and grpc.aio never frees the operations and texts of one that fails (grpc#43360): up to 640 bytes.
    """
    await asyncio.sleep(seconds)


async def abort(context: Context, fault: Fault) -> NoReturn:
    """End the RPC with a fault. Always raises grpc's `AbortError`, unless the caller cancels the RPC first."""
    await until_cancelled()
    status = wire.fault_to_status(fault)
    trailing = ((wire.DETAILS_KEY, status.SerializeToString()),)
    await context.abort(grpc.StatusCode[fault.code], fault.text, trailing)
    raise AssertionError("context.abort raises")
