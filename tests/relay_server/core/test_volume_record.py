"""The relay's record of a device's volume."""

from __future__ import annotations

import pytest

from avatar_relay.messages import Volume
from relay_server.core import pending_record
from relay_server.core.pending_record import PendingRecords
from relay_server.core.volume_record import VolumeRecord


def test_what_the_device_tells_holds_where_nothing_was_set() -> None:
    record = VolumeRecord("lobby")
    assert record.hello(Volume(0.25, True, 7))
    assert (record.volume, record.pending) == (Volume(0.25, True, 7), False)
    assert not record.hello(Volume(0.25, True, 7))
    assert record.told(Volume(0.5, False, 8))
    assert record.volume == Volume(0.5, False, 8)


def test_a_command_is_numbered_and_pending_until_it_is_confirmed() -> None:
    record = VolumeRecord("lobby")
    record.hello(Volume(1.0, False, 7))
    record.set(Volume(0.3, revision=99))
    assert (record.volume, record.pending) == (Volume(0.3, revision=8), True)
    assert record.notice.pending
    assert record.told(Volume(0.30000001192, revision=8))  # as the wire rounds it
    assert not record.pending


@pytest.mark.parametrize("told", [Volume(0.25, revision=8), Volume(0.5, revision=9), Volume(0.25, True, 10)])
def test_what_is_not_the_last_command_confirms_nothing(told: Volume) -> None:
    """After commands 0.25, 0.5 and 0.25, the confirmation of the first must not count for the last."""
    record = VolumeRecord("lobby")
    record.hello(Volume(1.0, revision=7))
    for gain in (0.25, 0.5, 0.25):
        record.set(Volume(gain))
    assert not record.told(told)
    assert (record.volume, record.pending) == (Volume(0.25, revision=10), True)


def test_a_pending_command_beats_what_hello_tells() -> None:
    """It is sent with a revision above the device's, so that the device accepts it."""
    record = VolumeRecord("lobby")
    record.hello(Volume(1.0, revision=7))
    record.set(Volume(0.25))
    assert not record.hello(Volume(0.9, revision=20))
    assert (record.volume, record.pending) == (Volume(0.25, revision=21), True)
    assert not record.hello(Volume(0.25, revision=21))  # playing, but possibly not stored
    assert record.volume == Volume(0.25, revision=22)
    assert record.told(Volume(0.25, revision=22))
    assert not record.pending


def test_a_device_that_tells_no_volume_gets_the_last_one() -> None:
    record = VolumeRecord("lobby")
    record.set(Volume(0.25))
    assert not record.hello(None)
    assert (record.volume.gain, record.pending) == (0.25, True)


def test_what_is_pending_outlives_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_record, "MAX_PENDING", 2)
    pending = PendingRecords(VolumeRecord)
    pending.keep("quiet", VolumeRecord("quiet"))
    for name in "abc":
        record = VolumeRecord(name)
        record.set(Volume(0.25))
        pending.keep(name, record)
    assert [pending.take(name).pending for name in ("quiet", "a", "b", "c")] == [False, False, True, True]
    assert not pending.take("c").pending
