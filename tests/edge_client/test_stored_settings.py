"""Settings from operators that a device stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatar_relay.device_state import DeviceSettings
from edge_client.config import EdgeConfig
from edge_client.state import StateFile
from edge_client.stored_settings import StoredSettings
from tests.lab.power_cut import DiskStandIn, File, PowerCutError

PATH = Path("/state/settings-lobby.json")
OWN = EdgeConfig(rotation=180, volume=0.9)
OLD, NEW = DeviceSettings((("rotation", "90"),), 1), DeviceSettings((("rotation", "270"), ("volume", "0.5")), 2)


def stored(disk: DiskStandIn) -> StoredSettings:
    return StoredSettings(StateFile(PATH, disk), OWN)


def test_what_is_set_counts_from_the_next_start_on_and_is_told_when_it_is_on_the_disk() -> None:
    disk = DiskStandIn()
    settings = stored(disk)
    assert settings.config == OWN
    settings.set(NEW)
    assert settings.news() is None
    settings.close()
    assert settings.news() == NEW and settings.news() is None
    again = stored(disk)
    assert (again.settings, again.config.rotation, again.config.volume) == (NEW, 270, 0.5)
    again.set(DeviceSettings((), 3))
    again.close()
    assert stored(disk).config == OWN


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((("rotation", "45"),), ("rotation", "45 is none of 0, 90, 180, 270")),
        ((("rotation", "90"), ("relay", "evil:1")), ("relay", "cannot be set from here")),
        ((("volume", "2"),), ("volume", "takes a number")),
    ],
)
def test_what_is_refused_is_told_and_the_old_stays(values: tuple[tuple[str, str], ...], reason: tuple[str, str]) -> None:
    disk = DiskStandIn()
    settings = stored(disk)
    settings.set(OLD)
    settings.set(DeviceSettings(values, 5))
    settings.close()
    told = settings.news()
    assert told is not None and (told.values, told.revision) == (OLD.values, 5)
    ((name, why),) = told.refused
    assert name == reason[0] and reason[1] in why
    assert stored(disk).settings == DeviceSettings(OLD.values, 5)


def test_what_welcome_says_is_a_change_if_it_is_newer() -> None:
    settings = stored(DiskStandIn())
    settings.set(NEW)
    for said in (None, OLD, NEW):
        settings.welcome(said)
        assert settings.settings == NEW
    settings.welcome(DeviceSettings(OLD.values, 9))
    assert settings.settings == DeviceSettings(OLD.values, 9)
    settings.close()


@pytest.mark.parametrize("step", range(7))
def test_a_power_cut_loses_at_most_the_last_change(step: int) -> None:
    disk = DiskStandIn()
    settings = stored(disk)
    settings.set(OLD)
    settings.close()
    settings.set(NEW)
    disk.steps_left = step
    if step < 6:
        with pytest.raises(PowerCutError):
            settings.close()
        assert settings.news() in (None, OLD)  # only what is on the disk
    else:
        settings.close()
    found = [stored(after).settings for after in disk.after_power_cut()]
    assert found and all(one in (OLD, NEW) for one in found)
    if step == 6:
        assert OLD not in found


WRONG = (
    b"[]",
    b"\xff",
    b'{"revision": 1}',
    b'{"settings": {"rotation": 90}, "revision": 1}',
    b'{"settings": {"rotation": "45"}, "revision": 1}',
)


@pytest.mark.parametrize("content", WRONG)
def test_a_file_that_cannot_be_used_does_not_count(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert stored(DiskStandIn(live={PATH: File(content)})).config == OWN
    assert len(caplog.records) == 1
