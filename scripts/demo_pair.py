"""The demo: starts a relay and an edge client, has them speak, and gathers what they leave.

The programs are told by the standard environment variables to export their traces to this process.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Coroutine
from importlib.metadata import version
from typing import TypeVar

import grpc

from avatar_relay.publisher import PublisherError
from avatar_relay.tracing import start_telemetry
from avatar_relay.v1 import admin_service_pb2, admin_service_pb2_grpc
from relay_server.sources.source import SourceError
from scripts.demo_options import Options, read_options
from scripts.demo_report import LEFT_BEHIND, Published, tell, write_summary
from tests.lab.backend import choose_script, speak
from tests.lab.programs import DemoError, Program, python, running, stop_on_signals
from tests.lab.trace_receiver import TraceReceiver

Result = TypeVar("Result")

DEVICE_ID = "demo"
FACE_STANDS = "[Tt]he face is drawn by|no face is drawn"
"""The edge client's log says so when its screen is open; it attaches before that."""
START_S = 60.0
"""A program may take this long to start on a slow machine."""
PICTURES_S = 300.0
"""How long film and pictures may take after playout."""


def say(text: str) -> None:
    """Tell the person what goes on."""
    print(f"==> {text}", flush=True)


def chosen(edge: Program) -> list[str]:
    """What plays and what draws, and why, in the edge client's words."""
    return re.findall(r"(?:INFO +edge_client\.sound|(?:INFO|WARNING) +edge_client\.face\.screens): (.*)", edge.said())


async def attached(address: str, device_id: str) -> None:
    """Wait until the device is with the relay."""
    async with grpc.aio.insecure_channel(address) as channel:
        admin = admin_service_pb2_grpc.AdminServiceStub(channel)
        while True:
            answer = await admin.ListDevices(admin_service_pb2.ListDevicesRequest(), timeout=START_S)
            if any(device.device_id == device_id and device.attached for device in answer.devices):
                return
            await asyncio.sleep(0.05)


async def while_running(work: Coroutine[None, None, Result], *programs: Program) -> Result:
    """Do `work` as long as the programs run; raises `DemoError` where one of them ends meanwhile."""
    watchers = [asyncio.create_task(program.ended()) for program in programs]
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task, *watchers], return_when=asyncio.FIRST_COMPLETED)
        for watcher in watchers:
            if watcher.done():
                watcher.result()
        return task.result()
    finally:
        for pending in (task, *watchers):
            pending.cancel()
        await asyncio.gather(task, *watchers, return_exceptions=True)


def edge_command(address: str, options: Options) -> list[str]:
    """How the edge client is started."""
    command = [*python("edge_client"), "--relay", address, "--device-id", DEVICE_ID]
    command += ["--record", str(options.out), "--exit-after-finished", "1"]
    return command + (["--headless", "--audio-sink", "virtual"] if options.headless else [])


async def run_pair(options: Options, environment: dict[str, str]) -> Published:
    """Both programs, one conversation, all that they leave but the summary and the trace."""
    telemetry = start_telemetry("demo-backend", "demo-backend", version("avatar-relay"), os.environ)

    async def conversation(address: str) -> Published:
        async with asyncio.timeout(START_S):
            await attached(address, DEVICE_ID)
        return await speak(address, DEVICE_ID, choose_script(options), seconds=options.seconds, telemetry=telemetry, say=say)

    try:
        say("starting the relay")
        command = [*python("relay_server"), "--listen", "127.0.0.1:0", "--log-level", "info", "--drain-grace-ms", "1000"]
        async with running("relay-server", command, options.out / "relay.log", environment) as relay:
            address = (await relay.wait_for(r"listening on (\S+)", START_S))[1]
            say(f"starting the edge client; the relay listens on {address}")
            async with running("edge-client", edge_command(address, options), options.out / "edge.log", environment) as edge:
                await edge.wait_for(FACE_STANDS, START_S)
                for line in chosen(edge):
                    say(line)
                published = await while_running(conversation(address), relay, edge)
                say("finished; the edge client makes film and pictures")
                await edge.wait(PICTURES_S)
    finally:
        await asyncio.to_thread(telemetry.shutdown)
    return published


async def demo(options: Options) -> None:
    """One run. Raises `DemoError` and the errors of what it uses."""
    options.out.mkdir(parents=True, exist_ok=True)
    for name in LEFT_BEHIND:
        (options.out / name).unlink(missing_ok=True)
    async with TraceReceiver() as receiver:
        environment = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        os.environ.update(environment)
        published = await run_pair(options, environment)
        receiver.write(options.out / "trace.json")
        summary = write_summary(options.out, published)
        print(tell(summary, published, len(receiver.trace(published.trace_id)), options.out))


async def main() -> int:
    """The command; returns its exit status."""
    options = read_options()
    task = asyncio.create_task(demo(options))
    stop_on_signals(task)
    try:
        await task
    except asyncio.CancelledError:
        print("stopped", file=sys.stderr)
        return 130
    except (DemoError, PublisherError, SourceError, OSError, grpc.RpcError) as error:
        print(f"error: {error}", file=sys.stderr)
    except TimeoutError:
        print(
            f"error: the device did not say in time that it attached, or that it finished; see the logs in {options.out}", file=sys.stderr
        )
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
