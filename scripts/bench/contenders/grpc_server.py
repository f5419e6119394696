"""Start and shutdown of contenders on `grpc.aio`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc.aio

from scripts.bench.contract import listening, port_file


async def serve(register: Callable[[Any], None]) -> None:
    """Serve the handlers added by `register`, until killed."""
    path = port_file()
    server = grpc.aio.server()
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    listening(path, port)
    await server.wait_for_termination()


async def close(tasks: Sequence[asyncio.Task[None]], channels: Sequence[Any]) -> None:
    """Close a contender's clients."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for channel in channels:
        await channel.close()
