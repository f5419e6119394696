"""The commands of a checkup: their output and exit status."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path

from edge_client.checkup.findings import Finding, as_json, as_text, exit_status
from edge_client.checkup.kernel_files import board_of
from edge_client.config import EdgeConfig

SERVICE_STATE = Path("/var/lib/edge-client")
"""Set by `system/edge-client.service`."""


def use_state_of_service() -> None:
    """Use the service's state folder for commands, too: systemd passes its name only to the service."""
    if SERVICE_STATE.is_dir():
        os.environ.setdefault("STATE_DIRECTORY", str(SERVICE_STATE))


def run_self_test(*, as_object: bool, limit_s: float) -> int:
    """Print a line for each part, or one JSON object; returns 1 if a part failed, or did not answer within `limit_s`, else 0."""
    from edge_client.checkup.self_test import self_test

    return _tell(self_test(limit_s), as_object=as_object)


def run_doctor(config: EdgeConfig, *, as_object: bool) -> int:
    """Print a line for each part, or one JSON object; returns 1 if a part failed, else 0."""
    use_state_of_service()
    from edge_client.checkup.doctor import examine
    from edge_client.inputs import as_operators_set

    return _tell(examine(as_operators_set(config)), as_object=as_object)


def _tell(findings: Iterable[Finding], *, as_object: bool) -> int:
    found = []
    for one in findings:
        found.append(one)
        if not as_object:
            print(as_text([one]), flush=True)
    if as_object:
        print(as_json(found, _about()))
    return exit_status(found)


def _about() -> dict[str, str]:
    """Description of the machine, without its name or its users."""
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    return {
        "program": f"edge-client {importlib.metadata.version('avatar-relay')}",
        "python": platform.python_version(),
        "system": release,
        "kernel": f"{platform.release()} {platform.machine()}",
        "board": board_of(Path("/")),
    }
