"""`edge-client self-test` as a command, and trials that hang, abort or lack a library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from edge_client.checkup.trials import SELF_TEST, run_trial
from tests.lab.programs import python


def self_test(**environment: str) -> tuple[int, dict[str, Any]]:
    """Exit status and report."""
    command = [*python("edge_client"), "self-test", "--json"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=55, check=False)
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["exit_status"] == done.returncode
    return done.returncode, report


def test_self_test_of_this_machine_passes() -> None:
    """Every part passes, with real libraries."""
    status, report = self_test()
    assert [(found["part"], found["health"]) for found in report["findings"]] == [(part, "ok") for part in SELF_TEST], report
    assert status == 0


def test_a_library_that_is_missing_fails_its_part(tmp_path: Path) -> None:
    """A missing library fails its part, with the reason; here that of the speaker process."""
    (tmp_path / "pyaudio.py").write_text("raise ImportError('libportaudio.so.2: cannot open shared object file')\n")
    before, os.environ["PYTHONPATH"] = os.environ.get("PYTHONPATH"), str(tmp_path)
    try:
        works, text = run_trial("speaker")
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
    assert (works, text) == (False, "ImportError: libportaudio.so.2: cannot open shared object file")


def test_a_driver_that_aborts_costs_its_part_only() -> None:
    """A driver that aborts fails its part only; the signal is reported."""
    assert run_trial("gles", command=[sys.executable, "-c", "import os; os.abort()"]) == (False, "its process was killed by signal 6")


def test_a_driver_that_hangs_is_given_up() -> None:
    """A driver that hangs is stopped after the time limit."""
    works, text = run_trial("gles", command=[sys.executable, "-c", "import time; time.sleep(60)"], limit_s=0.2)
    assert (works, text) == (False, "did not answer within 0.2 s")


def test_a_process_that_says_nothing_tells_its_last_words() -> None:
    """The last output is taken from standard error."""
    works, text = run_trial("clip", command=[sys.executable, "-c", "raise SystemExit('no memory')"])
    assert (works, text) == (False, "its process ended with exit code 1: no memory")
