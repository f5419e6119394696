"""When the relay collects garbage: full collections follow ended streams."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from avatar_relay.v1 import admin_service_pb2
from avatar_relay.v1 import media_pb2 as pb
from relay_server.service import garbage
from tests.relay_server.service.wired import Wired


@pytest.fixture
def full_collections() -> Iterator[list[Any]]:
    """The full collections of this process; none but those that the relay asks for."""
    seen: list[Any] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["generation"] == 2:
            seen.append(info)

    gc.disable()
    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)
    gc.enable()


async def test_a_full_collection_follows_a_number_of_ended_streams(
    relay: Wired, full_collections: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not each of them: it stops all others."""
    monkeypatch.setattr(garbage, "STREAMS_PER_COLLECTION", 3)
    monkeypatch.setattr(garbage, "OTHERS_PER_STREAM", 10)
    counts = []
    for _ in range(7):
        device = relay.device_stream()
        await device.say(ping=pb.Ping(id=1))
        await device.ended()
        counts.append(len(full_collections))
    assert counts == [0, 0, 1, 1, 1, 2, 2]
    for _ in range(30):
        await relay.admin.ListDevices(admin_service_pb2.ListDevicesRequest())
    assert len(full_collections) == 3
