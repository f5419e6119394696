"""Runs a contender on uvloop instead of asyncio's event loop: `python -m scripts.bench.contenders.on_uvloop MODULE ARGUMENT…`."""

from __future__ import annotations

import asyncio
import runpy
import sys

import uvloop


def main() -> None:
    """Run the server in this process."""
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
