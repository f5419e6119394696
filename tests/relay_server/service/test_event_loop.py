"""When the relay's event loop resumes those that wait for gRPC's operations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

import grpc
import grpc.aio
import pytest

from relay_server.service import event_loop
from relay_server.service.event_loop import MAX_AT_ONCE, Operations, RelayLoop, at_turn_end, operations

MARK: ContextVar[str] = ContextVar("mark", default="none")


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run on the relay's loop."""
    with asyncio.Runner(loop_factory=RelayLoop) as runner:
        runner.run(coroutine)


def operation() -> asyncio.Future[None]:
    """Return the future of an announced operation, made as gRPC does."""
    operations().begins = True
    return asyncio.get_running_loop().create_future()


def complete(*futures: asyncio.Future[None]) -> asyncio.Future[None]:
    """Complete operations in one callback of the loop, as gRPC does; the result is done after it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def event() -> None:
        for future in futures:
            future.set_result(None)
        done.set_result(None)

    loop.call_soon(event)
    return done


async def note(future: asyncio.Future[None], happened: list[str], what: str) -> None:
    """Wait for a future, then note it, with the context of this task."""
    MARK.set(what)
    try:
        await future
        happened.append(MARK.get())
    except (RuntimeError, asyncio.CancelledError) as error:
        happened.append(type(error).__name__)


def test_an_operation_resumes_its_task_within_the_event() -> None:
    """The task and the callback have run, in their contexts, before the next callback of the loop."""

    async def check() -> None:
        happened: list[str] = []
        first, second = operation(), operation()
        task = asyncio.create_task(note(first, happened, "task"))
        second.add_done_callback(lambda _: happened.append("callback"))
        await asyncio.sleep(0)
        done = complete(first, second)
        asyncio.get_running_loop().call_soon(lambda: happened.append("next"))
        await done
        await task
        assert happened == ["task", "callback", "next"]

    run(check())


def test_other_futures_are_those_of_asyncio() -> None:
    """Only the announced one differs: what resumes others may be in the middle of something."""

    async def check() -> None:
        operation()
        assert type(asyncio.get_running_loop().create_future()) is asyncio.Future
        assert not operations().begins
        assert abs(asyncio.get_running_loop().time() - time.monotonic()) < 1.0

    run(check())


def test_timers_have_their_turn_among_many_operations() -> None:
    """An event with more completed operations resumes some of them; the others wait for the next iteration, as on asyncio's loop."""

    async def check() -> None:
        happened: list[str] = []
        many = [operation() for _ in range(MAX_AT_ONCE + 2)]
        for number, one in enumerate(many):
            one.add_done_callback(lambda _, number=number: happened.append(str(number)))  # type: ignore[misc]
        done = complete(*many)
        asyncio.get_running_loop().call_soon(lambda: happened.append("timer"))
        await done
        await asyncio.sleep(0)
        numbers = [str(number) for number in range(len(many))]
        assert happened == [*numbers[:MAX_AT_ONCE], "timer", *numbers[MAX_AT_ONCE:]]
        last = operation()
        last.add_done_callback(lambda _: happened.append("last"))
        done = complete(last)
        asyncio.get_running_loop().call_soon(lambda: happened.append("after it"))
        await done
        assert happened[-2:] == ["last", "after it"]

    run(check())


@pytest.mark.parametrize("ends", ["RuntimeError", "CancelledError"])
def test_failed_and_cancelled_operations_end_as_on_asyncio(ends: str) -> None:
    """Their task gets the exception, once."""

    async def check() -> None:
        happened: list[str] = []
        one = operation()
        task = asyncio.create_task(note(one, happened, "done"))
        await asyncio.sleep(0)
        if ends == "RuntimeError":
            one.set_exception(RuntimeError("failed"))
        else:
            task.cancel()
        async with asyncio.timeout(30):
            await task
        assert happened == [ends]

    run(check())


def test_an_operation_may_complete_before_somebody_waits() -> None:
    """The waiter finds the result."""

    async def check() -> None:
        happened: list[str] = []
        one = operation()
        one.set_result(None)
        await note(one, happened, "done")
        assert happened == ["done"]

    run(check())


async def test_other_loops_take_no_notice() -> None:
    """The services run on any loop."""
    announced = operations()
    assert isinstance(announced, Operations)
    announced.begins = True
    assert type(asyncio.get_running_loop().create_future()) is asyncio.Future


def test_a_waiter_that_fails_stops_no_other() -> None:
    """It is reported as a callback of the loop is."""

    async def check() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        happened: list[str] = []
        first, second = operation(), operation()
        first.add_done_callback(lambda _: happened.remove("nothing"))
        second.add_done_callback(lambda _: happened.append("second"))
        await complete(first, second)
        assert happened == ["second"]
        assert [type(context["exception"]) for context in told] == [ValueError]

    run(check())


def test_cancelling_a_completed_operation_does_nothing() -> None:
    """Its waiter runs once."""

    async def check() -> None:
        happened: list[str] = []
        only = operation()
        only.add_done_callback(lambda _: happened.append("once"))
        await complete(only)
        assert not only.cancel()
        await asyncio.sleep(0)
        assert happened == ["once"]

    run(check())


def test_operations_that_complete_together_wake_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC writes a byte for each, and reads one at a time by itself. No message is missed."""
    sizes: list[int] = []
    read = event_loop._WakeUps.recv

    def counted(self: event_loop._WakeUps, bufsize: int, flags: int = 0, /) -> bytes:
        data = read(self, bufsize, flags)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(event_loop._WakeUps, "recv", counted)

    async def echo(_unused: object, context: Any) -> None:
        while (message := await context.read()) is not grpc.aio.EOF:
            await context.write(message)

    async def talk(channel: Any, streams: int) -> list[bytes]:
        calls = [channel.stream_stream("/echo/Echo")() for _ in range(streams)]
        answers = []
        for number in range(20):
            await asyncio.gather(*(call.write(b"%d" % number) for call in calls))
            answers += await asyncio.gather(*(call.read() for call in calls))
        for call in calls:
            call.cancel()
        return answers

    async def check() -> None:
        server = grpc.aio.server()
        handlers: dict[str, Any] = {"Echo": grpc.stream_stream_rpc_method_handler(echo)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with asyncio.timeout(20), grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert sorted(await talk(channel, 32)) == sorted(b"%d" % number for number in range(20) for _ in range(32))
        await server.stop(0)

    run(check())
    assert sum(sizes) > 2 * len(sizes)


def test_what_is_due_at_the_end_of_a_turn_needs_no_further_one() -> None:
    """It runs after all callbacks of the turn, before those that they have scheduled; with another loop, in the next turn."""

    async def check() -> None:
        happened: list[str] = []
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def at_end() -> None:
            happened.append("end")
            if happened.count("end") == 1:
                at_turn_end(at_end)

        def next_turn() -> None:
            happened.append("next turn")
            loop.call_later(0.01, done.set)

        def first() -> None:
            at_turn_end(at_end)
            loop.call_soon(next_turn)
            happened.append("first")

        loop.call_soon(first)
        loop.call_soon(lambda: happened.append("second"))
        await done.wait()
        assert happened[:3] == ["first", "second", "end"]
        assert sorted(happened[3:]) == ["end", "next turn"]
        assert happened[3] == "end" or not isinstance(loop, RelayLoop)

    run(check())
    asyncio.run(check())
