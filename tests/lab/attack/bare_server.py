"""A grpc.aio server that answers every method with UNIMPLEMENTED: the control, showing an attack's effect without our code."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc


class Everything(grpc.GenericRpcHandler):
    """One handler for all methods."""

    def service(self, handler_call_details: Any) -> Any:
        """A handler that refuses."""

        async def refuse(_request: bytes, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "bare")

        return grpc.unary_unary_rpc_method_handler(refuse)


async def main(certificate: bytes = b"", key: bytes = b"") -> None:
    """Serve until killed; prints HOST:PORT."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Everything(),))
    if key:
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(*[Path(name).read_bytes() for name in sys.argv[1:]]))
