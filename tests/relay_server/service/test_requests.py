"""Requests of unary and server-streaming RPCs: exactly one, complete, valid, in time."""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc
from typing import Any, cast

import grpc
import pytest
from grpc import StatusCode as Code

from avatar_relay.errors import PeerError
from avatar_relay.reasons import Reason
from avatar_relay.v1 import admin_service_pb2 as admin_pb
from relay_server.access.connection_rules import ConnectionRules
from relay_server.config import RelayConfig
from relay_server.rpc_errors import Context
from relay_server.service.arrivals import Arrivals
from relay_server.service.calls import service, unary
from relay_server.service.connection_watch import ConnectionWatch
from relay_server.service.interceptor import RequestInterceptor, admit_everybody
from relay_server.service.requests import RequestReader
from tests.raw_http2 import raw_connection
from tests.relay_server.access.guarded import code_of, code_of_messages
from tests.relay_server.access.test_every_rpc import CHANNELZ, HEALTH_CHECK, HEALTH_WATCH, OURS, REFLECTION
from tests.relay_server.service.test_streams import FakeContext
from tests.relay_server.service.wired import Wired, wired

LIST, WATCH = "/avatar_relay.v1.AdminService/ListDevices", "/avatar_relay.v1.AdminService/WatchEvents"
NO_MESSAGE = b"\xff\xff"
"""Bytes with which no protobuf message begins."""


@pytest.mark.parametrize("method", [*OURS, HEALTH_CHECK, HEALTH_WATCH, REFLECTION, CHANNELZ])
async def test_undecodable_bytes_are_the_callers_fault(caplog: pytest.LogCaptureFixture, method: str) -> None:
    async with wired(RelayConfig(listen="127.0.0.1:0", channelz=True)) as relay:
        assert await code_of(relay.channel, method, sent=NO_MESSAGE) == (Code.INVALID_ARGUMENT, Reason.MESSAGE_INVALID)
        assert await code_of(relay.channel, HEALTH_CHECK) == (Code.OK, None)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING or record.exc_info]


@pytest.mark.parametrize("method", [LIST, WATCH, HEALTH_CHECK, HEALTH_WATCH, CHANNELZ])
@pytest.mark.parametrize("sent", [(), (b"", b"")])
async def test_one_request_is_asked_for(caplog: pytest.LogCaptureFixture, method: str, sent: tuple[bytes, ...]) -> None:
    async with wired(RelayConfig(listen="127.0.0.1:0", channelz=True)) as relay:
        assert await code_of_messages(relay.channel, method, sent) == (Code.INVALID_ARGUMENT, Reason.MESSAGE_INVALID)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING or record.exc_info]


async def test_large_request_is_refused_with_our_reason(relay: Wired) -> None:
    for method in (LIST, HEALTH_CHECK, REFLECTION):
        assert await code_of(relay.channel, method, sent=bytes(5 << 20)) == (Code.INVALID_ARGUMENT, Reason.MESSAGE_TOO_LARGE)


@pytest.mark.parametrize("method", [LIST, HEALTH_CHECK, "/avatar_relay.v1.DeviceService/Attach"])
async def test_a_refused_request_is_let_go_at_once(relay: Wired, method: str) -> None:
    """An error references its frames, and these the request: it must not wait for the garbage collector."""
    sent, kept = b"\xff" * (2 << 20), list[int]()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(8):
            assert (await code_of(relay.channel, method, sent=sent))[0] is Code.INVALID_ARGUMENT
            kept.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        gc.enable()
    assert kept[-1] - kept[0] < len(sent), kept


async def test_status_and_metadata_of_a_foreign_service_stay(relay: Wired) -> None:
    """A health check of an unknown service: status, no message, initial metadata before it."""
    check: Any = relay.channel.unary_unary(HEALTH_CHECK)
    call = check(b"\x0a\x04none")
    assert await call.initial_metadata() is not None
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is Code.NOT_FOUND


async def test_half_a_request_ends_at_its_deadline() -> None:
    async def list_devices(_request: admin_pb.ListDevicesRequest) -> admin_pb.ListDevicesResponse:
        raise AssertionError("never complete")

    watch = ConnectionWatch(ConnectionRules(100), lambda: 0)
    server = grpc.aio.server(interceptors=(RequestInterceptor(admit_everybody, RequestReader(within_s=0.01), watch),))
    server.add_generic_rpc_handlers((service("a.B", {"Call": unary(admin_pb.ListDevicesRequest, list_devices)}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with raw_connection(f"127.0.0.1:{port}") as stranger:
            await stranger.push(stranger.half_sent(3, "/a.B/Call", 1_000))
            await stranger.until_ended(3)
    finally:
        await server.stop(None)


async def ended_with(reader: RequestReader, context: FakeContext, caller: str = "c") -> Reason:
    with pytest.raises(PeerError) as caught:
        await reader.read_single(cast(Context, context), caller)
    return caught.value.fault.reason


async def test_read_under_way_is_never_cancelled() -> None:
    """Neither by the deadline nor by the caller's cancellation; it ends with its RPC, whatever it raises then."""
    late, cancelled = FakeContext(), FakeContext(b"first")
    assert await ended_with(RequestReader(within_s=0), late) is Reason.PEER_SILENT
    handler = asyncio.create_task(RequestReader().read_single(cast(Context, cancelled), "c"))
    while cancelled.reads < 2:  # noqa: ASYNC110 - the reader tells nobody
        await asyncio.sleep(0)
    handler.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handler
    assert not late.reading.cancelled()
    assert not cancelled.reading.cancelled()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    assert len(tasks) == 2
    late.reading.set_exception(grpc.aio.AbortError("Locally aborted."))
    cancelled.reading.set_result(grpc.aio.EOF)
    await asyncio.wait(tasks)


async def test_slow_request_gives_way_to_those_that_wait() -> None:
    reader = RequestReader(hurried_after_s=0)
    slow = [FakeContext() for _ in range(2)]
    reading = [asyncio.create_task(ended_with(reader, context)) for context in slow]
    await asyncio.sleep(0)
    whole = FakeContext(b"request")
    whole.reading.set_result(grpc.aio.EOF)
    assert await reader.read_single(cast(Context, whole), "c") == b"request"
    assert await reading[0] is Reason.LIMIT_REACHED
    assert not reading[1].done(), "nobody waits any more"
    reading[1].cancel()


async def test_callers_take_turns() -> None:
    """A caller with many requests neither takes all places nor precedes others for the next one."""
    arrivals, served, leave = Arrivals(at_once=3, per_caller=2), list[str](), asyncio.Event()

    async def request(caller: str) -> None:
        async with arrivals.place(caller):
            served.append(caller)
            await leave.wait()

    tasks = [asyncio.create_task(request(caller)) for caller in "aaaabbc"]
    await asyncio.sleep(0)
    assert served == ["a", "a", "b"]
    assert arrivals.wanted_from("a")
    leave.set()
    await asyncio.gather(*tasks)
    assert served[3:] == ["a", "b", "c", "a"]
    assert not arrivals.wanted_from("a")


async def test_newest_request_of_a_caller_is_first() -> None:
    arrivals, served = Arrivals(at_once=1), list[int]()

    async def request(number: int) -> None:
        async with arrivals.place("a"):
            served.append(number)

    async with arrivals.place("a"):
        tasks = [asyncio.create_task(request(number)) for number in range(3)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert served == [2, 1, 0]


async def test_cancelled_wait_leaves_nothing() -> None:
    arrivals = Arrivals(at_once=1)

    async def request() -> None:
        async with arrivals.place("a"):
            pass

    async with arrivals.place("a"):
        waiting = [asyncio.create_task(request()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
    waiting[2].cancel()  # its place was assigned at the same moment
    await asyncio.wait(waiting)
    assert [task.cancelled() for task in waiting] == [True, False, True]
    async with asyncio.timeout(1), arrivals.place("b"):
        assert not arrivals.wanted_from("b")


async def test_caller_has_a_bounded_queue() -> None:
    arrivals = Arrivals(at_once=1, waiting=0)
    async with arrivals.place("a"):
        with pytest.raises(PeerError) as caught:
            await arrivals.place("a").__aenter__()
    assert caught.value.fault.reason is Reason.LIMIT_REACHED


async def test_a_refused_call_leaves_no_error_in_a_cycle(relay: Wired) -> None:
    """gRPC keeps the error of an aborted call with the call, which the error's frames reference: kilobytes until the next collection."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(8):
            assert (await code_of(relay.channel, "/nope/Nope", sent=b""))[0] is Code.UNIMPLEMENTED
        assert sum(isinstance(one, grpc.aio.AbortError) for one in gc.get_objects()) < 4  # the last calls are still ending
    finally:
        gc.enable()
