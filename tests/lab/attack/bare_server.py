"""A grpc.aio server that answers every method with UNIMPLEMENTED: the control, showing an attack's effect without our code."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc


class Everything(grpc.GenericRpcHandler):
    """One handler for all methods."""

    def service(self, handler_call_details: Any) -> Any:
        """A handler that refuses."""

        async def refuse(_request: bytes, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "bare")

        return grpc.unary_unary_rpc_method_handler(refuse)


async def main() -> None:
    """Serve until killed; prints HOST:PORT."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Everything(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
