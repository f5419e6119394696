"""The relay's record of settings changed by operators."""

from __future__ import annotations

from avatar_relay.device_state import DeviceSettings
from relay_server.core.settings_record import SettingsRecord

TURNED = (("rotation", "90"),)


def test_changes_are_merged_numbered_and_pending_until_they_are_stored() -> None:
    record = SettingsRecord("lobby")
    record.hello(DeviceSettings((("figures", "on"), ("volume", "0.5")), 7))
    record.change({"rotation": "90", "figures": ""})
    wanted = DeviceSettings((("rotation", "90"), ("volume", "0.5")), 8)
    assert (record.value, record.pending) == (wanted, True)
    assert not record.told(DeviceSettings((("figures", "on"), ("volume", "0.5")), 7))
    assert record.pending
    assert record.told(wanted)
    assert not record.pending


def test_what_is_refused_is_remembered_and_the_old_stays() -> None:
    record = SettingsRecord("lobby")
    record.hello(DeviceSettings(TURNED, 3))
    record.change({"rotation": "45"})
    refused = (("rotation", "45 is none of 0, 90, 180, 270"),)
    assert not record.told(DeviceSettings(TURNED, 3, refused))  # of an earlier change
    assert record.told(DeviceSettings(TURNED, 4, refused))
    assert (record.value, record.pending, record.refused) == (DeviceSettings(TURNED, 4), False, refused)
    record.change({"rotation": "0"})
    assert record.refused == ()


def test_a_device_that_takes_none_is_known_by_its_hello() -> None:
    record = SettingsRecord("lobby")
    assert not record.supported
    record.hello(DeviceSettings())
    assert record.supported
    record.hello(None)
    assert not record.supported


def test_what_is_pending_beats_what_hello_tells() -> None:
    record = SettingsRecord("lobby")
    record.hello(DeviceSettings())
    record.change({"rotation": "90"})
    record.hello(DeviceSettings((), 20))
    assert (record.value, record.pending) == (DeviceSettings(TURNED, 21), True)
