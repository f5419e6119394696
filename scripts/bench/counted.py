"""Runs a server and counts the Python calls of its main thread, asyncio's included: `python -m scripts.bench.counted MODULE ARGUMENT…`.

Counting begins with SIGUSR1 and ends with SIGUSR2; the count of each function is then written as JSON to the file that `BENCH_CALLS_FILE`
names. Counted are the `call` events of `sys.setprofile`: each function, comprehension and resumption of a coroutine.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

COUNT_FILE = "BENCH_CALLS_FILE"


class _Counter:
    def __init__(self) -> None:
        self.calls: Counter[CodeType] = Counter()

    def begin(self, number: int, frame: FrameType | None) -> None:
        self.calls.clear()
        sys.setprofile(self._count)

    def end(self, number: int, frame: FrameType | None) -> None:
        sys.setprofile(None)
        functions: Counter[str] = Counter()
        for code, calls in self.calls.items():
            functions[f"{'/'.join(Path(code.co_filename).parts[-2:])}:{getattr(code, 'co_qualname', code.co_name)}"] += calls
        file = Path(os.environ[COUNT_FILE])
        written = file.with_suffix(".new")
        written.write_text(json.dumps(functions))
        written.rename(file)

    def _count(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            self.calls[frame.f_code] += 1


def main() -> None:
    """Run the server in this process."""
    counter = _Counter()
    signal.signal(signal.SIGUSR1, counter.begin)
    signal.signal(signal.SIGUSR2, counter.end)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
