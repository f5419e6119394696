"""Fixtures for all tests of the source `audio2face`."""

from __future__ import annotations

import pytest

from relay_server.sources.audio2face import clip


@pytest.fixture(autouse=True)
def no_pause_between_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the delay before the service is called again."""
    monkeypatch.setattr(clip, "RETRY_AFTER_MS", 1)
