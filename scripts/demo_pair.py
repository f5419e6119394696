"""The demo: starts a relay and an edge client, plays a conversation, and collects their output.

The standard environment variables make the programs export their traces to this process.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from importlib.metadata import version

import grpc

from avatar_relay.media import AngleUnit
from avatar_relay.publisher import PublisherError
from avatar_relay.tracing import start_telemetry
from relay_server.sources.local.source import LocalSource
from relay_server.sources.recording import RecordingSource
from relay_server.sources.source import FileSpeech, SourceError, TextSpeech
from relay_server.sources.speech import SpeechSource
from scripts.demo_options import Options, read_options
from scripts.demo_report import LEFT_BEHIND, tell, write_summary
from tests.lab.backend import CLIP, Published, Script, speak
from tests.lab.otlp import OtlpReceiver
from tests.lab.programs import START_S, Program, ProgramError, attached, python, running, stop_on_signals, while_running

DEVICE_ID = "demo"
FACE_STANDS = "[Tt]he face is drawn by|no face is drawn"
"""Log text of the edge client once its screen is open; it attaches before that."""
FILMED_SIZE = "400x400"
"""Size of pictures that are only recorded: no larger than the recording keeps."""
BACKEND_NICENESS = 10
"""Niceness of the motion source, which normally runs on another machine: it must not take CPU from the face."""
PICTURES_S = 300.0
"""Time limit for writing film and pictures after playout."""


def say(text: str) -> None:
    """Print a progress message."""
    print(f"==> {text}", flush=True)


def chosen(edge: Program) -> list[str]:
    """The edge client's log lines on the chosen sink and renderer, with reasons."""
    return re.findall(r"(?:INFO +edge_client\.sound|(?:INFO|WARNING) +edge_client\.face\.screens): (.*)", edge.said())


def choose_script(options: Options) -> Script:
    """The requested speech, or the project's clip."""
    if options.recording is not None:
        unit = AngleUnit.DEGREES if options.degrees else AngleUnit.RADIANS
        return Script(RecordingSource(), FileSpeech(options.recording, unit), f"the recorded conversation {options.recording.name}")
    if options.say is not None:
        return Script(SpeechSource(), TextSpeech(options.say), f'"{options.say}", by espeak-ng')
    if options.wav is not None:
        return Script(LocalSource(), FileSpeech(options.wav), f"{options.wav.name}, with motion made from its sound")
    return Script(LocalSource(), FileSpeech(CLIP), "the clip that comes with the project, with motion made from its sound")


def edge_command(address: str, options: Options) -> list[str]:
    """The command line of the edge client."""
    command = [*python("edge_client"), "--relay", address, "--device-id", DEVICE_ID]
    command += ["--record", str(options.out), "--exit-after-finished", "1"] + (["--head", options.head] if options.head else [])
    return command + (["--headless", "--audio-sink", "virtual", "--size", FILMED_SIZE] if options.headless else [])


async def run_pair(options: Options, environment: dict[str, str]) -> Published:
    """Run both programs and one conversation; writes all output but the summary and the trace."""
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
                os.nice(BACKEND_NICENESS)
                published = await while_running(conversation(address), relay, edge)
                say("finished; the edge client makes film and pictures")
                await edge.wait(PICTURES_S)
    finally:
        await asyncio.to_thread(telemetry.shutdown)
    return published


async def demo(options: Options) -> None:
    """Run the demo once. Raises `ProgramError`, and the errors of source and publisher."""
    options.out.mkdir(parents=True, exist_ok=True)
    for name in LEFT_BEHIND:
        (options.out / name).unlink(missing_ok=True)
    async with OtlpReceiver() as receiver:
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
    except (ProgramError, PublisherError, SourceError, OSError, grpc.RpcError) as error:
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
