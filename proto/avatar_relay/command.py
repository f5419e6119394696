"""Shared by all commands of the project: prepare the process, and report a failed start in one line."""

from __future__ import annotations

import argparse
import difflib
import io
import logging
import re
import signal
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import NoReturn

logger = logging.getLogger(__name__)

EXIT_START_FAILED = 2
EXIT_INTERRUPTED = 130
MAX_ERROR = 500
"""Length of the error line for a wrong command line."""
CONTEXT = "OTEL_PYTHON_CONTEXT"


def prepare_process(environment: MutableMapping[str, str]) -> None:
    """Prepare the environment. Call it first, with `os.environ`: gRPC and OpenTelemetry read it when they are imported.

    An empty `OTEL_…` variable is removed, and so is a compression of `none`: OpenTelemetry's specification treats the first as unset and
    the second as the default; its Python SDK accepts neither. A `none` for one signal beside another general value remains, and is
    refused. gRPC's own log is off unless GRPC_VERBOSITY enables it: our errors contain the same information. Names are resolved by the
    system, unless GRPC_DNS_RESOLVER is set: gRPC's own resolver supports neither `.local` nor nsswitch. Unless GRPC_EXPERIMENTS is set,
    servers read their connections on the thread that polls, not on a pool of threads: half the context switches, a fifth less CPU
    (docs/notebook/live-path.md). An OTEL_PYTHON_CONTEXT that is not installed is removed with a warning, as OpenTelemetry logs a traceback
    for it. Help texts can be printed in any encoding.
    """
    plain = environment.get("OTEL_EXPORTER_OTLP_COMPRESSION", "").strip().lower() in ("", "none")
    for name, value in list(environment.items()):
        is_default = not value.strip() or (plain and name.endswith("_COMPRESSION") and value.strip().lower() == "none")
        if name.startswith("OTEL_") and is_default:
            del environment[name]
    _remove_unknown_context(environment)
    environment.setdefault("GRPC_VERBOSITY", "NONE")
    environment.setdefault("GRPC_DNS_RESOLVER", "native")
    environment.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _remove_unknown_context(environment: MutableMapping[str, str]) -> None:
    name = environment.get(CONTEXT, "").strip()
    if not name:
        return
    from importlib.metadata import entry_points  # late: a rare variable

    if not entry_points(group="opentelemetry_context", name=name):
        del environment[CONTEXT]
        text = f"{CONTEXT}={name[:MAX_ERROR]!a}: no installed package has it in opentelemetry_context; the default is used"
        print(f"warning: {text}", file=sys.stderr, flush=True)


class CommandLine(argparse.ArgumentParser):
    """A parser that reports an error in one line, with the nearest flag for an unknown one; the page-long usage is only in `--help`."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with 2."""
        program, _, command = self.prog.partition(" ")
        unknown = re.match(r"unrecognized arguments: (--[^ =]+)", message)
        near = difflib.get_close_matches(unknown[1], re.findall(r"--[a-z0-9-]+", self.format_usage()), 1) if unknown else []
        text = f"{message}; did you mean {near[0]}?" if near else f"{message}; see {self.prog} --help"
        self.exit(EXIT_START_FAILED, f"{program}: error: {command}{': ' if command else ''}{_printable(text)[:MAX_ERROR]}\n")


@contextmanager
def errors_in_one_line(program: str, *kinds: type[Exception]) -> Iterator[None]:
    """Report an error of `kinds`, alone or within exception groups, as `program: error: …` on stderr and exit with 2.

    Until the program handles SIGINT itself, SIGINT ends the process at once: a KeyboardInterrupt leaves a traceback in an import, or is
    lost in it. A later one exits with 130. All other errors pass: they are bugs, and need their traceback. The traceback of a reported
    error is in the log at level DEBUG.
    """
    try:
        with _interrupts_end_the_process():
            yield
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None
    except Exception as error:
        causes = list(_leaves(error))
        if not all(isinstance(cause, kinds) for cause in causes):
            raise
        logger.debug("%s does not start", program, exc_info=error)
        sys.stderr.write(f"{program}: error: {one_line(causes[0])}\n")  # in one piece: the log has a thread of its own
        raise SystemExit(EXIT_START_FAILED) from None


@contextmanager
def _interrupts_end_the_process() -> Iterator[None]:
    """Disable Python's own handler of SIGINT; restore it at the end, unless the program set one. Only the main thread can."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors within an exception group, at any depth; `error` itself if it is not a group."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def one_line(error: BaseException) -> str:
    """The text of an error in one printable line."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return _printable(text) or type(error).__name__


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
