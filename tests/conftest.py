"""Fixtures and settings for all tests."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Time limits of single examples fail on a busy machine; the limit of each test (pytest-timeout) applies.
settings.register_profile("suite", deadline=None, max_examples=50, print_blob=True)
settings.register_profile("more", settings.get_profile("suite"), max_examples=2_000)
# For `scripts/coverage`: tracing makes examples slow, and fixed examples always reach the same branches.
settings.register_profile("coverage", settings.get_profile("suite"), max_examples=20, derandomize=True)
settings.load_profile("suite")

# A developer's own exporters, screen and relay address must not reach the code under test.
SETTINGS = ("OTEL_", "AVATAR_RELAY_", "EDGE_CLIENT_")
for name in [name for name in os.environ if name.startswith(SETTINGS)]:
    del os.environ[name]
os.environ.pop("STATE_DIRECTORY", None)


def is_of_this_loop(record: logging.LogRecord) -> bool:
    """grpc.aio has one queue for all loops of a process, and asyncio logs when it wakes a loop that an earlier test closed."""
    return not record.getMessage().startswith("Exception in callback PollerCompletionQueue")


logging.getLogger("asyncio").addFilter(is_of_this_loop)


@pytest.fixture(scope="session", autouse=True)
def state_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the devices of all tests keep their state, instead of the developer's home."""
    folders = tmp_path_factory.mktemp("state")
    os.environ["XDG_STATE_HOME"] = str(folders / "shared")
    return folders


@pytest.fixture(autouse=True)
def own_state_folder(request: pytest.FixtureRequest, state_folders: Path) -> Iterator[None]:
    """Give the devices of a test a state folder of their own. The first write creates it."""
    before = os.environ["XDG_STATE_HOME"]
    os.environ["XDG_STATE_HOME"] = str(state_folders / f"{abs(hash(request.node.nodeid)):x}")
    yield
    os.environ["XDG_STATE_HOME"] = before


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests with the marker `late` last: they read the result of background work of other tests, and so wait the least."""
    items.sort(key=lambda item: item.get_closest_marker("late") is not None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of slow runs."""
    parser.addoption("--cases", type=int, help="cases of the slow random runs (default: see each test)")
    parser.addoption("--seed", type=int, default=1, help="seed of the slow random runs (default 1)")
    parser.addoption("--figures", metavar="DIR", help="where slow runs that measure leave their figures (default: a temporary folder)")


@pytest.fixture
def python_handles_sigint() -> Iterator[None]:
    """Install Python's own handler of SIGINT, as in a program started from a terminal: a shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
