"""The command line: `edge-client [run]`, `edge-client devices`, `edge-client version`."""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from avatar_relay.errors import ConfigError
from edge_client.blas_threads import ONE_THREAD
from edge_client.config import DEFAULT_FILE, SETTINGS, EdgeConfig, load_config
from edge_client.errors import SinkError

COMMANDS = {
    "run": "attach to a relay, play what it sends and draw the face (the default)",
    "devices": "list the sound outputs of this machine",
    "version": "tell the version",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit status: 0 well, 1 it failed, 2 it was asked for something that can not be."""
    read = _parser().parse_args(arguments)
    named = os.environ.get(SETTINGS.prefix + "CONFIG")
    try:
        config = load_config(SETTINGS.flags_in(read), os.environ, file=read.config or (Path(named) if named else None))
    except ConfigError as error:
        print(f"edge-client: {error}", file=sys.stderr)
        return 2
    if read.command == "version":
        print(f"edge-client {importlib.metadata.version('avatar-relay')}")
        return 0
    return _devices(config) if read.command == "devices" else _run(config)


def _parser() -> argparse.ArgumentParser:
    commands = "\n".join(f"  {name:8} {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="edge-client",
        description=f"Plays what a relay sends, and draws a face that says it.\n\n{commands}",
        epilog=f"Each setting is also an environment variable ({SETTINGS.prefix}DEVICE_ID) and a key of the file (device_id = …); "
        "flags override the environment, which overrides the file.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=COMMANDS, default="run", metavar="COMMAND", help=", ".join(COMMANDS))
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"settings in TOML (default: {DEFAULT_FILE}, if it exists; or {SETTINGS.prefix}CONFIG)"
    )
    SETTINGS.add_flags(parser)
    return parser


def _devices(config: EdgeConfig) -> int:
    from edge_client.audio.devices import choose_output, list_outputs

    try:
        outputs = list_outputs()
        chosen = choose_output(outputs, config.audio_device)
    except SinkError as error:
        print(f"edge-client: {error}", file=sys.stderr)
        return 1
    for output in outputs:
        print(f"{'*' if output == chosen else ' '} {output}")
    return 0


def _run(config: EdgeConfig) -> int:
    logging.basicConfig(level=config.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", stream=sys.stderr)
    for variable, value in ONE_THREAD.items():
        os.environ.setdefault(variable, value)  # before numpy
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # before grpc: it tells what we tell, in its own form
    from edge_client.app import run

    return run(config)
