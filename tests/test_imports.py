"""What each program brings into memory: a relay no audio and no GL, a device nothing of the relay, the speaker next to nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.data import PROJECT_ROOT

AUDIO_AND_GL = frozenset({"pyaudio", "pygame", "OpenGL", "opuslib_next", "edge_client"})
RELAY_ONLY = frozenset({"relay_server", "grpc_channelz", "soundfile"})
"""`import grpc` itself brings `grpc_health`, `grpc_reflection` and `grpc_tools` where they are installed."""
HEAVY = frozenset({"grpc", "google", "opentelemetry", "pygame", "OpenGL", "PIL", "asyncio", "relay_server"})


def modules_after(statement: str) -> frozenset[str]:
    """Top-level modules in memory of a fresh Python after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return frozenset(done.stdout.split())


RELAY_BRINGS = frozenset(
    {"avatar_relay", "google", "grpc", "grpc_channelz", "grpc_health", "grpc_reflection", "grpc_tools", "opentelemetry", "relay_server"}
    | {"cython_runtime", "sitecustomize", "typing_extensions"}
)
"""What a relay loads that only relays: each of these costs start-up time and memory, so that a new one is a decision."""
BACKEND_BRINGS = frozenset({"avatar_relay", "opentelemetry", "relay_server", "sitecustomize", "typing_extensions"})
"""What a backend loads for the publisher library, before it connects."""


@pytest.mark.parametrize(
    ("module", "budget", "modules"),
    [("relay_server.server", RELAY_BRINGS, 460), ("relay_server.publisher", BACKEND_BRINGS, 280)],
)
def test_start_up_budget(module: str, budget: frozenset[str], modules: int) -> None:
    """The budget of start-up is a list of packages and a count of modules, because a time depends on the machine."""
    code = f"import {module}\nimport sys\nprint(len(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=50, check=True)
    foreign = {name for name in modules_after(f"import {module}") if name not in sys.stdlib_module_names and not name.startswith("_")}
    assert foreign - budget == set()
    assert int(done.stdout) <= modules


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("relay_server", AUDIO_AND_GL),
        ("relay_server.server", AUDIO_AND_GL),
        ("relay_server.cli", AUDIO_AND_GL),
        ("relay_server.publisher", AUDIO_AND_GL),
        ("edge_client", RELAY_ONLY),
        ("edge_client.app", RELAY_ONLY),
        ("edge_client.cli", RELAY_ONLY),
        ("edge_client.audio.speaker", HEAVY),
    ],
)
def test_import_brings_nothing_foreign(module: str, absent: frozenset[str]) -> None:
    """So that a relay runs without a sound card and a Pi without the server's packages."""
    assert modules_after(f"import {module}") & absent == set()


def test_modules_after_sees_what_is_imported() -> None:
    """The check itself can fail."""
    assert {"wave", "asyncio"} <= modules_after("import wave\nimport asyncio.queues")
