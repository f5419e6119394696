"""The command line: `edge-client [run]`, and the other commands of `COMMANDS`."""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avatar_relay.bounded_log import BoundedLog
from avatar_relay.command import CommandLine, errors_in_one_line, prepare_process
from avatar_relay.errors import ConfigError
from edge_client.blas_threads import ONE_THREAD
from edge_client.errors import ModelError, SinkError

if TYPE_CHECKING:
    from edge_client.config import EdgeConfig

COMMANDS = {
    "run": "attach to a relay, play what it sends and draw the face (the default)",
    "devices": "list the sound outputs of this machine",
    "tone": "play a test tone by the settings of the sound",
    "calibrate": "find how much later than it says the sound card is heard, by clicks and a mouth that opens with them",
    "import-head": "convert your own model to a head (edge-client import-head --help)",
    "self-test": "test this installation: libraries, a clip, a picture of each renderer",
    "doctor": "check this device and its settings, and advise; --json for reports",
    "install": "install this release as a service; upgrade, roll back, uninstall (edge-client install --help)",
    "version": "print the version",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program. Returns its exit status: 0 success, 1 failure. Exits with 2 and one line on stderr if it cannot start."""
    with errors_in_one_line("edge-client", ConfigError, ModelError, OSError):
        prepare_process(os.environ)
        for variable, value in ONE_THREAD.items():
            os.environ.setdefault(variable, value)  # before numpy, which the settings import
        given = sys.argv[1:] if arguments is None else arguments
        if given[:1] == ["import-head"]:
            from edge_client.head_import.command import import_head

            return import_head(given[1:])
        if given[:1] == ["install"]:
            from avatar_relay.installer.commands import main as install

            return install(given[1:], program="edge-client install", role="device")
        from edge_client.config import SETTINGS, load_config

        read = _parser().parse_args(given)
        named = os.environ.get(SETTINGS.prefix + "CONFIG")
        config = load_config(SETTINGS.flags_in(read), os.environ, file=read.config or (Path(named) if named else None))
        if read.command == "version":
            print(f"edge-client {importlib.metadata.version('avatar-relay')}")
            return 0
        if read.command in ("self-test", "doctor"):
            from edge_client.checkup.commands import run_doctor, run_self_test

            if read.command == "doctor":
                return run_doctor(config, as_object=read.json)
            return run_self_test(as_object=read.json, limit_s=read.within)
        if read.command == "calibrate":
            return _calibrate(config, offset_ms=read.offset_ms, shows=read.show)
        if read.command == "tone":
            return _tone(config)
        return _devices(config) if read.command == "devices" else _run(config)


def _parser() -> argparse.ArgumentParser:
    from edge_client.config import DEFAULT_FILE, SETTINGS

    commands = "\n".join(f"  {name:11} {text}" for name, text in COMMANDS.items())
    parser = CommandLine(
        prog="edge-client",
        description=f"Plays speech from a relay and draws the face in lip-sync.\n\n{commands}",
        epilog=f"Each setting is also an environment variable ({SETTINGS.prefix}DEVICE_ID) and a key of the file (device_id = …); "
        "flags override the environment, which overrides the file.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=COMMANDS, default="run", metavar="COMMAND", help=", ".join(COMMANDS))
    default = f"default: {DEFAULT_FILE}, if it exists"
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"settings in TOML, or {SETTINGS.prefix}CONFIG ({default})")
    parser.add_argument("--version", action="version", version=f"edge-client {importlib.metadata.version('avatar-relay')}")
    parser.add_argument("--json", action="store_true", help="self-test and doctor: print one object of JSON")
    limit = "self-test: time limit of each test (default: 60)"
    parser.add_argument("--within", type=_time_limit, default=60.0, metavar="SECONDS", help=limit)
    parser.add_argument("--set", dest="offset_ms", type=float, metavar="MS", help="calibrate: keep this offset for the card that plays")
    parser.add_argument("--show", action="store_true", help="calibrate: print the offsets that are kept, by card")
    SETTINGS.add_flags(parser)
    return parser


def _time_limit(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds <= 3_600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to 3600")
    return seconds


def _devices(config: EdgeConfig) -> int:
    from edge_client.audio.devices import list_outputs
    from edge_client.audio.outputs import choose

    try:
        outputs = list_outputs()
        chosen = choose(config.audio_device, outputs)
    except SinkError as error:
        print(f"edge-client: error: {error}", file=sys.stderr)
        return 1
    for output in outputs:
        print(f"{'*' if output == chosen else ' '} {output}")
    return 0


def _tone(config: EdgeConfig) -> int:
    logging.basicConfig(level=logging.ERROR)
    from edge_client.tone import HZ, SECONDS, play_tone

    try:
        print(f"played {SECONDS:g} s of {HZ:g} Hz: {play_tone(config)}")
    except SinkError as error:
        print(f"edge-client: error: {error}", file=sys.stderr)
        return 1
    return 0


def _calibrate(config: EdgeConfig, *, offset_ms: float | None, shows: bool) -> int:
    logging.basicConfig(level=logging.ERROR)
    from edge_client.calibration.command import calibrate, kept
    from edge_client.checkup.commands import use_state_of_service
    from edge_client.inputs import as_operators_set
    from edge_client.state import state_folder

    use_state_of_service()
    folder = state_folder(os.environ, Path.home)
    try:
        print("\n".join(kept(folder)) if shows else calibrate(as_operators_set(config), folder, given_ms=offset_ms))
    except SinkError as error:
        print(f"edge-client: error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(config: EdgeConfig) -> int:
    from avatar_relay.log_output import begin_log

    limits = BoundedLog(lambda: time.monotonic_ns() // 1_000, strict="edge_client.link")
    begin_log("edge-client", config.log_level, config.log_format, limits, os.environ)
    from edge_client.app import run

    return run(config)
