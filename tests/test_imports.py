"""Modules loaded by each program: a relay no audio and no GL, a device nothing of the relay, the speaker next to nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.lab.data import PROJECT_ROOT

AUDIO_AND_GL = frozenset({"pyaudio", "pygame", "OpenGL", "opuslib_next", "edge_client"})
RELAY_ONLY = frozenset({"relay_server", "grpc_channelz", "soundfile"})
"""Loaded by `import grpc` itself if installed: `grpc_health`, `grpc_reflection` and `grpc_tools`."""
HEAVY = frozenset({"grpc", "google", "opentelemetry", "pygame", "OpenGL", "PIL", "asyncio", "relay_server"})
FACE_ONLY = frozenset({"pygame", "OpenGL", "PIL"})
FACE_NEVER = frozenset({"grpc", "google", "opentelemetry", "pyaudio", "soxr", "opuslib_next", "asyncio", "relay_server"})


def names_after(statement: str) -> frozenset[str]:
    """Return the names of all modules loaded by a new Python after a statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return frozenset(done.stdout.split())


def packages(names: frozenset[str]) -> frozenset[str]:
    """The top-level packages of modules."""
    return frozenset(name.partition(".")[0] for name in names)


BOTH_BRING = frozenset({"avatar_relay", "google", "grpc", "grpc_health", "grpc_reflection", "grpc_tools", "opentelemetry"})
EVERYWHERE = frozenset({"cython_runtime", "sitecustomize", "typing_extensions"})
RELAY_BRINGS = BOTH_BRING | {"grpc_channelz", "relay_server"}
EDGE_BRINGS = BOTH_BRING | {"edge_client", "numpy", "soxr"}
BACKEND_BRINGS = frozenset({"avatar_relay", "opentelemetry", "relay_server"})
"""Loaded by a backend for the publisher library, before it connects."""


@pytest.mark.parametrize(
    ("modules", "budget", "count"),
    [
        ("relay_server.cli, relay_server.server", RELAY_BRINGS, 504),
        ("edge_client.cli, edge_client.app", EDGE_BRINGS, 584),
        ("relay_server.cli", frozenset({"avatar_relay", "relay_server"}), 185),
        ("edge_client.cli", frozenset({"avatar_relay", "edge_client"}), 185),
        ("avatar_relay.publisher", BACKEND_BRINGS, 270),
    ],
)
def test_start_up_budget(modules: str, budget: frozenset[str], count: int) -> None:
    """The start-up budget is a list of packages and a count of modules, because times depend on the machine.

    Each module costs start-up time and memory, so adding one is a decision. Python 3.13 counts up to five more than 3.11.
    """
    found = names_after(f"import {modules}")
    foreign = {name for name in packages(found) if name not in sys.stdlib_module_names and not name.startswith("_")}
    assert foreign - budget - EVERYWHERE == set()
    assert len(found) <= count


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("relay_server", AUDIO_AND_GL),
        ("relay_server.server", AUDIO_AND_GL),
        ("relay_server.cli", AUDIO_AND_GL),
        ("avatar_relay.publisher", AUDIO_AND_GL),
        ("edge_client", RELAY_ONLY),
        ("edge_client.app", RELAY_ONLY),
        ("edge_client.cli", RELAY_ONLY),
        ("edge_client.audio.speaker", HEAVY),
        ("edge_client.app", FACE_ONLY),
        ("edge_client.face_process.__main__", FACE_NEVER),
        ("edge_client.face_process.__main__, edge_client.face.gles, edge_client.face.flat, edge_client.recording.film_keeper", FACE_NEVER),
    ],
)
def test_import_brings_nothing_foreign(module: str, absent: frozenset[str]) -> None:
    """A relay can therefore run without a sound card, and a Pi without the server's packages."""
    assert packages(names_after(f"import {module}")) & absent == set()


def test_what_is_imported_is_seen() -> None:
    """The check itself can fail."""
    found = names_after("import wave\nimport asyncio.queues")
    assert {"wave", "asyncio.queues"} <= found
    assert {"wave", "asyncio"} <= packages(found)


def test_a_relay_alone_loads_nothing_of_a_cluster() -> None:
    """Only a relay with a backplane imports it."""
    names = names_after("import relay_server.server, relay_server.cli")
    assert not {name for name in names if name.startswith(("nats", "relay_server.cluster", "relay_server.backplane"))}
