"""`scripts/bench/face --against COMMIT`: CPU and memory of the drawn head, compared with those of an earlier commit.

Each of the two draws in a window on its own virtual X server, in alternating turns of a few pictures, so that other load on the machine
affects both. CPU is the time of all threads of the drawing process, not wall time; the ratio is the median over pairs of neighbouring
turns. Memory is the PSS of the same processes: Python, the GL driver and the head.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from tests.lab.data import PROJECT_ROOT
from tests.lab.mouth.on_screen import virtual_display
from tests.lab.programs import ProgramError

PICTURES_PER_TURN = 20
MOST_CPU_RATIO, MOST_MORE_MB = 1.3, 20.0
"""Limits on `Compared.ratio`, and on how much more memory this checkout takes."""
_CHILD = Path(__file__).parent / "face_rounds.py"


@dataclass(frozen=True, slots=True)
class Compared:
    """The figures of both clients."""

    ratio: float
    """Median of the ratios of CPU time per picture."""
    quartiles: tuple[float, float]
    """Of the same ratios."""
    cpu_ms: tuple[float, float]
    """CPU per picture of the earlier client, and of this one: medians."""
    pss_mb: tuple[float, float]
    """Memory, in the same order."""

    def report(self) -> list[str]:
        """Print the figures and whether each limit holds; returns the names of those that do not."""
        print(
            f"CPU per picture    {self.ratio:.2f} times (quartiles {self.quartiles[0]:.2f} and {self.quartiles[1]:.2f}): "
            f"{self.cpu_ms[0]:.2f} ms before, {self.cpu_ms[1]:.2f} ms now"
        )
        print(f"memory             {self.pss_mb[0]:.1f} MB before, {self.pss_mb[1]:.1f} MB now")
        limits = {
            f"CPU, times that before: {self.ratio:.2f}, at most {MOST_CPU_RATIO:g}": self.ratio <= MOST_CPU_RATIO,
            f"more memory, MB: {(more := self.pss_mb[1] - self.pss_mb[0]):.1f}, at most {MOST_MORE_MB:g}": more <= MOST_MORE_MB,
        }
        for limit, held in limits.items():
            print(f"{'held  ' if held else 'MISSED'} {limit}")
        return [limit for limit, held in limits.items() if not held]


class _DrawingClient:
    """A child process that draws."""

    def __init__(self, root: Path, size: tuple[int, int], look: Mapping[str, str], display: str) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'proto'}", "DISPLAY": display, "WAYLAND_DISPLAY": ""}
        command = [sys.executable, "-P", str(_CHILD), str(size[0]), str(size[1]), json.dumps(dict(look))]
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name = self._answer()

    def asked(self, line: str) -> float:
        """Send one line, and return the number answered."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.communicate(timeout=10)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise ProgramError(f"a drawing process ended with {self._process.wait(10)}")
        return line


def compare(commit: str, size: tuple[int, int], turns: int, look: Mapping[str, str]) -> Compared:
    """Measure `turns` pairs. `look`: for this checkout, see `face_rounds`; not empty. Raises `ProgramError`."""
    with ExitStack() as stack:
        before, now = (
            stack.enter_context(_drawing(root, size, its_look))
            for root, its_look in ((stack.enter_context(checkout(commit)), {}), (PROJECT_ROOT, look))
        )
        found: list[tuple[float, float]] = []
        for turn in range(turns + 2):
            pair = (before.asked(str(PICTURES_PER_TURN)), now.asked(str(PICTURES_PER_TURN)))
            found += [pair] if turn >= 2 else []  # the first ones compile shaders
        memory = before.asked("memory"), now.asked("memory")
    ratios = [ours / theirs for theirs, ours in found]
    low, _, high = quantiles(ratios, n=4)
    return Compared(median(ratios), (low, high), (median(old for old, _ in found), median(new for _, new in found)), memory)


@contextmanager
def _drawing(root: Path, size: tuple[int, int], look: Mapping[str, str]) -> Iterator[_DrawingClient]:
    with virtual_display(size) as display:
        drawing = _DrawingClient(root, size, look, display)
        try:
            yield drawing
        finally:
            drawing.end()


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """The edge client as of a commit, in a temporary folder."""
    packed = subprocess.run(
        ["git", "-C", str(PROJECT_ROOT), "archive", commit, "edge_client", "proto"], capture_output=True, timeout=60, check=False
    )
    if packed.returncode:
        raise ProgramError(f"git cannot read {commit}: {packed.stderr.decode(errors='replace').strip()}")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, timeout=60, check=True)
        yield Path(folder)
