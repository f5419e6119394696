"""The command line of `relay-server`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from avatar_relay.bounded_log import BoundedLog
from avatar_relay.command import CommandLine, errors_in_one_line, prepare_process
from avatar_relay.errors import ConfigError
from avatar_relay.settings import ProgramSettings, Section
from relay_server.config import RelayConfig
from relay_server.errors import BackgroundError
from relay_server.sources.plugins import SourcePlugin, installed_plugins

PREFIX = "AVATAR_RELAY_"
CONFIG_VARIABLE = "CONFIG"


def relay_settings(plugins: Mapping[str, SourcePlugin]) -> ProgramSettings:
    """The relay's settings, and those of the installed sources."""
    own = Section.of(RelayConfig, variables=(CONFIG_VARIABLE,))
    return ProgramSettings(PREFIX, [own, *(plugin.section(name) for name, plugin in plugins.items())])


def build_parser() -> argparse.ArgumentParser:
    """Create the argument parser. Raises `ConfigError` if an installed source cannot be loaded."""
    parser = CommandLine(
        prog="relay-server",
        description="Relays audio and motion payloads from publishers to devices.",
        epilog=f"Each setting is also an environment variable ({PREFIX}LISTEN) and a key of the file (listen = …); "
        "flags override the environment, which overrides the file. `relay-server install --help`: as a service of this machine.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('avatar-relay')}")
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"settings in TOML (or {PREFIX}{CONFIG_VARIABLE})")
    relay_settings(installed_plugins()).add_flags(parser)
    return parser


def load_config(arguments: argparse.Namespace, environment: Mapping[str, str]) -> RelayConfig:
    """Load and check the settings from flags, environment and file. Raises `ConfigError`."""
    plugins = installed_plugins()
    settings = relay_settings(plugins)
    named = environment.get(PREFIX + CONFIG_VARIABLE)
    given = settings.load(settings.flags_in(arguments), environment, arguments.config or (Path(named) if named else None))
    sources = {name: plugin.make_settings(given[name]) for name, plugin in plugins.items() if given[name].is_present}
    config: RelayConfig = given[""].make(RelayConfig, sources=sources)
    return config


def main(argv: Sequence[str] | None = None) -> None:
    """Run `relay-server`. Exits with 2 and one line on stderr if it cannot start, with 1 if a background task ends by itself."""
    with errors_in_one_line("relay-server", ConfigError, OSError):
        prepare_process(os.environ)
        given = sys.argv[1:] if argv is None else argv
        if given[:1] == ["install"]:
            from avatar_relay.installer.commands import main as install

            raise SystemExit(install(given[1:], program="relay-server install", role="relay"))
        config = load_config(build_parser().parse_args(given), os.environ)
        if config.workers == 1:
            run_relay(config)
        else:
            from relay_server.workers.supervisor import supervise

            _begin_log(config)
            supervise(config, given, partial(_tell_address, config))


def run_relay(config: RelayConfig) -> None:
    """Run one relay until it is asked to end. Exits with 1 if a background task ends by itself. Raises `ConfigError`."""
    import asyncio

    from relay_server.free_memory import use_small_heaps

    use_small_heaps()
    from relay_server.server import serve  # late import: --help and invalid settings do not need grpc
    from relay_server.service.event_loop import RelayLoop

    _begin_log(config)
    try:
        with asyncio.Runner(loop_factory=RelayLoop) as runner:
            runner.run(serve(config, os.environ, partial(_tell_address, config)))
    except BackgroundError as error:
        sys.stderr.write(f"relay-server: error: {error}\n")
        raise SystemExit(1) from None


def _begin_log(config: RelayConfig) -> None:
    from avatar_relay.log_output import begin_log  # late import, for the same reason

    begin_log("relay-server", config.log_level, config.log_format, BoundedLog(lambda: time.monotonic_ns() // 1_000), os.environ)


def _tell_address(config: RelayConfig, address: str) -> None:
    if config.port_file is not None:
        _write_port(config.port_file, address.rpartition(":")[2])
    if config.workers > 1:
        limits = ", ".join(f"{name} {getattr(config, name)}" for name in ("max_devices", "max_publishers", "max_conversations"))
        _say(f"{config.workers} workers; limits hold for each of them by itself: {limits}, …")
    _say(f"listening on {address}")  # last: a reader of this line may read the file


def _say(line: str) -> None:
    """Print a line in one piece: with PYTHONUNBUFFERED `print` writes the line's end by itself, and the log may come between."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _write_port(path: Path, port: str) -> None:
    try:
        path.write_text(port + "\n", encoding="ascii")
    except OSError as error:
        raise ConfigError(f"port_file: {path} cannot be written: {error.strerror}") from error
