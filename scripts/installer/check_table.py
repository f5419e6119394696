"""Checks of a machine that an installation changed, and their results."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from scripts.installer.file_list import created, files_of_machine


class CheckError(Exception):
    """A check failed; the message describes the fault."""


def run(*command: str | Path, limit_s: float = 60.0) -> str:
    """Run a command; returns its output. Raises `CheckError` with the end of the output if it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=limit_s, check=False)
    if done.returncode:
        raise CheckError(f"{' '.join(map(str, command))}: status {done.returncode}: {(done.stdout + done.stderr).strip()[-2_000:]}")
    return done.stdout + done.stderr


def need(condition: bool, otherwise: str) -> None:
    """Raise `CheckError` if the condition is false."""
    if not condition:
        raise CheckError(otherwise)


def nothing_since(before: set[str], *, but_for_packages: bool) -> str:
    """Compare with an earlier list of files. Raises `CheckError` with the first few that are left."""
    left = created(before, files_of_machine(), but_for_packages=but_for_packages)
    need(not left, f"{len(left)} are left: {', '.join(left[:20])}")
    return "no file, user or group is left"


class Table:
    """The checks and their results."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str]] = []

    def row(self, what: str, tried: Callable[[], str]) -> bool:
        """Run a check; returns whether it succeeded."""
        print(f"==> {what}", file=sys.stderr, flush=True)
        try:
            found, verdict = tried(), "ok"
        except (CheckError, OSError, subprocess.TimeoutExpired, ValueError) as error:
            found, verdict = str(error) or repr(error), "FAILED"
        self._rows.append((verdict, what, found))
        print(f"    {verdict}: {found}", file=sys.stderr, flush=True)
        return verdict == "ok"

    def show(self) -> int:
        """Print the table; returns the exit status."""
        width = max(len(what) for _, what, _ in self._rows)
        for verdict, what, found in self._rows:
            print(f"{verdict:6}  {what:{width}}  {' '.join(found.split())[:200]}")
        return int(any(verdict != "ok" for verdict, _, _ in self._rows))
