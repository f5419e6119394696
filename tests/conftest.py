"""What holds for all tests."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Time limits of single examples fail on a busy machine; the limit of each test (pytest-timeout) is what counts.
settings.register_profile("suite", deadline=None, max_examples=100, print_blob=True)
settings.register_profile("more", settings.get_profile("suite"), max_examples=2_000)
# For `scripts/coverage`: a tracer makes examples slow, and the same ones each time reach the same branches.
settings.register_profile("coverage", settings.get_profile("suite"), max_examples=20, derandomize=True)
settings.load_profile("suite")

# A developer's own exporters, screen and relay address must not reach the code under test.
SETTINGS = ("OTEL_", "AVATAR_RELAY_", "EDGE_CLIENT_")
for name in [name for name in os.environ if name.startswith(SETTINGS)]:
    del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with the marker `late` read what another test began in the background: they come last, and wait the least."""
    items.sort(key=lambda item: item.get_closest_marker("late") is not None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of slow runs."""
    parser.addoption("--cases", type=int, help="cases of the slow random runs (default: see each test)")
    parser.addoption("--seed", type=int, default=1, help="seed of the slow random runs (default 1)")
    parser.addoption("--figures", metavar="DIR", help="where slow runs that measure leave their figures (default: a temporary folder)")
