"""A device and a publisher in Node.js, written from the .proto files and docs/protocol.md alone, against the real relay.

`scripts/node_clients` installs their dependencies and runs this. One conversation, longer than all buffers together, with
faults: both streams are cut in the middle, the publisher acknowledges late, and both ends are sent unknown messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.fault_proxy import FaultProxy, Weather
from tests.lab.history import Verdict
from tests.lab.later_version import LaterVersion
from tests.lab.node_clients import judge, reports, start, what_is_missing
from tests.lab.restarted_programs import RelayProgram

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

DEVICE = "lobby"
SPEED = "40"
"""Playback speed as a multiple of real time."""
SECONDS = "150"
"""4.8 MB of sound: far more than a relay's window (2.5 MiB) and the device's buffer."""
BUFFER_BYTES = 64 << 10
PATIENCE_S = 40.0
ACK_AFTER_MS = 2_500
"""The publisher's delay of acknowledgements; a device repeats an event after 2 s."""
WAY = Weather(delay_ms=20)
NARROW = Weather(delay_ms=20, bytes_per_s=1e6)
"""Ensures that data is in transit at a cut."""


@dataclass(frozen=True)
class Trouble:
    """The reports of both, and the expectations."""

    device: list[dict[str, Any]]
    publisher: list[dict[str, Any]]
    verdict: Verdict
    unknown_messages: int

    def of(self, who: str, event: str) -> list[dict[str, Any]]:
        """Return all reports of one event."""
        return [report for report in getattr(self, who) if report["event"] == event]


def device_arguments(address: str) -> list[str]:
    """Arguments of a small and fast device."""
    buffers = ["--audio-buffer", str(BUFFER_BYTES), "--motion-buffer", str(BUFFER_BYTES)]
    return ["--relay", address, "--device-id", DEVICE, "--speed", SPEED, *buffers]


async def under_trouble(folder: Path) -> Trouble:
    """Run it once."""
    device_log, publisher_log = folder / "device.log", folder / "publisher.log"
    async with AsyncExitStack() as stack:
        relay = RelayProgram()
        await relay.start()
        stack.push_async_callback(relay.kill)
        later = await stack.enter_async_context(LaterVersion(relay.address))
        device_line = await stack.enter_async_context(FaultProxy(later.address, up=WAY, down=WAY))
        publisher_line = await stack.enter_async_context(FaultProxy(later.address, up=NARROW, down=WAY))
        device = await stack.enter_async_context(start("device", device_log, *device_arguments(device_line.address)))
        await device.wait_for('"welcome"', PATIENCE_S)
        arguments = ["--relay", publisher_line.address, "--device", DEVICE, "--seconds", SECONDS, "--ack-after-ms", str(ACK_AFTER_MS)]
        publisher = await stack.enter_async_context(start("publisher", publisher_log, *arguments))
        await device.wait_for('"kind":"audio","seq":100,', PATIENCE_S)
        await publisher_line.cut()
        publisher_line.up = WAY
        await device.wait_for('"kind":"audio","seq":300,', PATIENCE_S)
        await device_line.cut()
        await device.wait_for('"told_finished"', PATIENCE_S)
        await device_line.cut()
        await publisher.wait(PATIENCE_S)
        device.terminate()
        await device.wait(PATIENCE_S)
    verdict = judge(DEVICE, (device_log, publisher_log), folder / "history.tsv")
    return Trouble(reports(device_log), reports(publisher_log), verdict, later.unknown_messages)


@pytest.fixture(scope="module")
def trouble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trouble]:
    """Run once for all tests."""
    if missing := what_is_missing():
        pytest.skip(missing)
    yield asyncio.run(under_trouble(tmp_path_factory.mktemp("node")))


def test_nothing_is_lost_doubled_or_altered(trouble: Trouble) -> None:
    """The history is valid: each payload arrived once, whole and in order, and the conversation finished once, also for its publisher."""
    verdict = trouble.verdict
    assert verdict.violations == 0, verdict.told
    assert (verdict.conversations, dict(verdict.outcomes)) == (1, {"completed": 1})
    assert verdict.payloads_sent == verdict.payloads_received + verdict.yielded == 1_538


def test_both_streams_were_cut_and_resumed(trouble: Trouble) -> None:
    """The device resumes from its cursors under the same session; the relay reports its progress to the publisher."""
    conversation = trouble.of("publisher", "sent")[0]["conversation"]
    assert [report["resumed"] for report in trouble.of("device", "welcome")] == [[], [conversation], []]
    assert [report["taken"] for report in trouble.of("publisher", "welcome")] == [0, 1]


def test_what_the_cut_swallowed_is_sent_again(trouble: Trouble) -> None:
    """Media that left the publisher but was not accepted is sent again."""
    (again,) = trouble.of("publisher", "again")
    assert again["pieces"] > 0


def test_credit_is_used_up_and_never_exceeded(trouble: Trouble) -> None:
    """The publisher waits for credit; the device never gets more than it granted."""
    assert trouble.of("publisher", "no_credit")
    assert not trouble.of("device", "credit_exceeded")


def test_large_payloads_travel_in_fragments(trouble: Trouble) -> None:
    """20,800 bytes are two fragments, and one payload on the device."""
    joined = trouble.of("device", "joined")
    assert [report["bytes"] for report in joined] == [20_800] * 37


def test_finished_is_repeated_until_acknowledged(trouble: Trouble) -> None:
    """With the same id, on the same stream and on the next one; it counts once, and finally none is pending."""
    told, heard = trouble.of("device", "told_finished"), trouble.of("publisher", "heard_finished")
    assert len(told) >= 2
    assert len({report["id"] for report in told}) == 1
    assert [report["isRepeated"] for report in heard] == [False] + [True] * (len(heard) - 1)
    assert len(heard) >= 2
    assert [report["unacknowledged"] for report in trouble.of("device", "left")] == [0]


def test_what_a_later_version_says_is_passed_over(trouble: Trouble) -> None:
    """Unknown members of the `oneof` are counted and change nothing, at either end and at the relay."""
    assert trouble.unknown_messages > 10
    assert all(trouble.of(who, "left")[0]["unknown_messages"] > 0 for who in ("device", "publisher"))


def test_a_conversation_goes_on_at_a_new_relay(tmp_path: Path) -> None:
    """The relay is killed and restarted: the publisher reopens the conversation at the device's position, and nothing is lost."""
    if missing := what_is_missing():
        pytest.skip(missing)
    asyncio.run(over_a_killed_relay(tmp_path))
    verdict = judge(DEVICE, (tmp_path / "device.log", tmp_path / "publisher.log"), tmp_path / "history.tsv")
    assert verdict.violations == 0, verdict.told
    assert dict(verdict.outcomes) == {"completed": 1}


async def over_a_killed_relay(folder: Path) -> None:
    """Run it once."""
    async with AsyncExitStack() as stack:
        relay = RelayProgram()
        await relay.start()
        stack.push_async_callback(relay.kill)
        device = await stack.enter_async_context(start("device", folder / "device.log", *device_arguments(relay.address)))
        await device.wait_for('"welcome"', PATIENCE_S)
        arguments = ["--relay", relay.address, "--device", DEVICE, "--seconds", SECONDS]
        publisher = await stack.enter_async_context(start("publisher", folder / "publisher.log", *arguments))
        await device.wait_for('"kind":"audio","seq":200,', PATIENCE_S)
        await relay.kill()
        await relay.start()
        await publisher.wait(PATIENCE_S)
        device.terminate()
        await device.wait(PATIENCE_S)
