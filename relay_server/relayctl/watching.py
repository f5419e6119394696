"""Watches a relay without end: the stream is opened again when it ends, and every gap is reported."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

import grpc

from avatar_relay.backoff import FINAL_CODES, PUBLISHER_BACKOFF, full_jitter
from avatar_relay.grpc_client import fault_of
from avatar_relay.v1 import admin_service_pb2 as pb
from avatar_relay.v1 import admin_service_pb2_grpc as services


def watch(
    relay: services.AdminServiceStub, device_ids: list[str], say: Callable[[str], None], pause: Callable[[float], None] = time.sleep
) -> Iterator[pb.WatchEventsResponse]:
    """Yield events until interrupted. `say` is called when the stream has ended, with the reason, and when it is open again.

    Raises `grpc.RpcError` if the first attempt fails, and for a refusal that a retry cannot change.
    """
    has_watched = False
    while True:
        is_new = True
        try:
            for event in relay.WatchEvents(pb.WatchEventsRequest(device_ids=device_ids, heartbeat=True)):
                if is_new and has_watched:
                    say("watching again; events in between were missed")
                is_new, has_watched = False, True
                if event.WhichOneof("event") is not None:
                    yield event
            reason = "the relay ended the stream"
        except grpc.RpcError as error:
            if not has_watched or _is_final(error):
                raise
            reason = f"{error.code().name}: {error.details()}"
        if not is_new:
            waits = full_jitter(PUBLISHER_BACKOFF, random.random)
            say(f"not watching any more ({reason}); trying again")
        elif not has_watched:
            return
        pause(next(waits))


def _is_final(error: grpc.RpcError) -> bool:
    return fault_of(error.code().name, error.details(), error.trailing_metadata()) is not None and error.code().name in FINAL_CODES
