"""The relay's program with a tap: on SIGUSR1 it writes figures to the file named by `TAP`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

TAP = "TAPPED_RELAY_FILE"
"""Environment variable with the file's path."""
ANSWERS_WITHIN_S = 1.0


@dataclass(slots=True)
class Tapped:
    """Figures of a relay."""

    tasks: int = 0
    blocks: int = 0
    """Memory blocks that the interpreter has allocated to objects."""
    cancelled: int = 0
    """RPCs that were cancelled while their handler ran. gRPC may leak some memory for each (grpc#43360)."""


async def look(pid: int, tap: Path, within_s: float = ANSWERS_WITHIN_S) -> Tapped | None:
    """The figures of the tapped relay with this process id, whose file is `tap`; None if it did not respond in time."""
    tap.unlink(missing_ok=True)  # noqa: ASYNC240  # a file of a few bytes
    os.kill(pid, signal.SIGUSR1)
    asked = time.monotonic()
    while not tap.exists():  # noqa: ASYNC240
        if time.monotonic() - asked > within_s:
            return None
        await asyncio.sleep(0.01)
    return Tapped(*map(int, tap.read_text(encoding="ascii").split()))  # noqa: ASYNC240


def main() -> None:
    """The program."""
    from avatar_relay.command import prepare_process

    prepare_process(os.environ)  # before gRPC is imported, as in the relay's own program
    from relay_server import cli

    figures = Tapped()
    count_cancelled(figures)

    def write(_number: int, _frame: object) -> None:
        try:
            figures.tasks = len(asyncio.all_tasks())
        except RuntimeError:  # the loop is not running yet, or has stopped
            return
        figures.blocks = sys.getallocatedblocks()
        path = Path(os.environ[TAP])
        fresh = path.with_suffix(".new")
        fresh.write_text(" ".join(map(str, astuple(figures))) + "\n", encoding="ascii")
        fresh.replace(path)

    signal.signal(signal.SIGUSR1, write)
    cli.main()


def count_cancelled(figures: Tapped) -> None:
    """Count the cancelled RPCs of the relay that this process will run."""
    import grpc

    from relay_server.service import grpc_servers, interceptor

    class CountingInterceptor(interceptor.RequestInterceptor):
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            handler = await super().intercept_service(continuation, details)

            async def call(requests: Any, context: Any) -> None:
                try:
                    await handler.stream_stream(requests, context)
                except asyncio.CancelledError:
                    figures.cancelled += 1
                    raise

            return grpc.stream_stream_rpc_method_handler(call, None, handler.response_serializer)

    setattr(grpc_servers, interceptor.RequestInterceptor.__name__, CountingInterceptor)


if __name__ == "__main__":
    main()
