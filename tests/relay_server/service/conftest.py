"""A relay for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.relay_server.service.wired import Wired, wired


@pytest.fixture
async def relay() -> AsyncIterator[Wired]:
    """A listening relay."""
    async with wired() as running:
        yield running
