"""Run one conversation against a real collector, rotel, and list the spans that it reports as received. See `scripts/check_otlp`."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from avatar_relay.tracing import telemetry_off
from tests.lab.backend import Script, speak
from tests.lab.programs import ProgramError, attached, python, running
from tests.lab.restarted_programs import free_port
from tests.lab.tool import command_line

_STAGES = {"relay": ("receive", "queue", "send"), "device": ("receive", "decode", "buffer", "first_sound", "first_picture", "play")}
EXPECTED = frozenset(f"{program}.{stage}" for program, stages in _STAGES.items() for stage in stages)
DEVICE_ID = "checked"


async def check(rotel: Path, folder: Path) -> set[str]:
    """The names of the spans in the collector's log."""
    from relay_server.sources.source import TextSpeech
    from relay_server.sources.speech import SpeechSource

    grpc_port, http_port = free_port(), free_port()
    environment = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{grpc_port}"}
    receiver = [str(rotel), "start", "--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"]
    receiver += ["--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}", "--otlp-http-endpoint", f"127.0.0.1:{http_port}"]
    relay_command = [*python("relay_server"), "--listen", "127.0.0.1:0", "--drain-grace-ms", "500"]
    async with running("rotel", receiver, folder / "rotel.log", {}) as collector:
        await collector.wait_for("Starting Rotel", 20)
        async with running("relay-server", relay_command, folder / "relay.log", environment) as relay:
            address = (await relay.wait_for(r"listening on (\S+)", 20))[1]
            command = [*python("edge_client"), "--relay", address, "--device-id", DEVICE_ID, "--headless", "--renderer", "flat"]
            async with running("edge-client", [*command, "--exit-after-finished", "1"], folder / "edge.log", environment) as device:
                await attached(address, DEVICE_ID)
                script = Script(SpeechSource(), TextSpeech("Hello, collector."), "a greeting")
                await speak(address, DEVICE_ID, script, seconds=None, telemetry=telemetry_off(), say=print)
                await device.wait(30)
        await asyncio.sleep(1)  # the collector writes its log in batches
        return set(re.findall(r"Name\s*:\s*((?:relay|device)\.\w+)", collector.said()))


def main() -> int:
    """Run the command; returns its exit status."""
    parser = command_line("check_otlp", __doc__)
    parser.add_argument("--rotel", type=Path, required=True, help="the collector's program")
    parser.add_argument("--out", type=Path, required=True, help="folder for logs")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        arrived = asyncio.run(check(arguments.rotel, arguments.out))
    except ProgramError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("arrived:", ", ".join(sorted(arrived)) or "nothing")
    if missing := EXPECTED - arrived:
        print("missing:", ", ".join(sorted(missing)), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
