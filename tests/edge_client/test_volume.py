"""The volume that a device stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from avatar_relay.messages import Volume
from edge_client.volume import MAX_REVISION, NEVER_SET, StoredVolume, settings_file
from tests.lab.power_cut import DiskStandIn, File

FOLDER = Path("/state")
PATH = FOLDER / "device-lobby.json"


def stored(disk: DiskStandIn) -> StoredVolume:
    return StoredVolume(settings_file(FOLDER, "lobby", disk))


def test_revisions_only_grow() -> None:
    volume = StoredVolume()
    assert volume.volume == NEVER_SET
    volume.set(Volume(0.5))
    assert volume.volume == Volume(0.5, revision=1)
    volume.set(Volume(0.25, revision=9))
    assert volume.volume == Volume(0.25, revision=9)
    volume.set(Volume(0.75, revision=3))
    assert volume.volume == Volume(0.75, revision=10)
    assert volume.news() is None
    volume.close()


@pytest.mark.parametrize(
    ("said", "then"),
    [
        (Volume(0.25, False, 7), Volume(0.25, False, 7)),  # unchanged
        (Volume(0.9, False, 6), Volume(0.25, False, 7)),  # an old command
        (Volume(0.9, True, 8), Volume(0.9, True, 8)),  # a command
        (Volume(1.0), Volume(0.25, False, 7)),  # an older relay, volume never set
        (Volume(0.25), Volume(0.25, False, 7)),
        (Volume(1.0, muted=True), Volume(1.0, True, 8)),  # an older relay, volume set
        (Volume(0.5), Volume(0.5, False, 8)),
    ],
)
def test_what_welcome_says_is_a_change_or_not(said: Volume, then: Volume) -> None:
    volume = StoredVolume()
    volume.set(Volume(0.25, revision=7))
    volume.welcome(said)
    assert volume.volume == then


def test_it_outlives_a_restart_and_leaves_other_settings_alone() -> None:
    disk = DiskStandIn(live={PATH: File(b'{"later": [1, 2]}')})
    volume = stored(disk)
    volume.set(Volume(0.25, True, 4))
    volume.close()
    assert volume.news() == Volume(0.25, True, 4)
    assert stored(disk).volume == Volume(0.25, True, 4)
    assert json.loads(disk.live[PATH].data) == {"later": [1, 2], "volume": {"gain": 0.25, "muted": True, "revision": 4}}


def test_what_cannot_be_written_is_not_confirmed() -> None:
    disk = DiskStandIn(steps_left=0, error=OSError(30, "Read-only file system"))
    volume = stored(disk)
    volume.set(Volume(0.25))
    volume.close()
    assert volume.news() is None
    assert volume.volume.gain == 0.25


@pytest.mark.parametrize(
    "content",
    [
        7,
        {},
        {"gain": "loud", "muted": False, "revision": 1},
        {"gain": True, "muted": False, "revision": 1},
        {"gain": 1.5, "muted": False, "revision": 1},
        {"gain": float("nan"), "muted": False, "revision": 1},
        {"gain": 10**400, "muted": False, "revision": 1},
        {"gain": 0.5, "muted": "no", "revision": 1},
        {"gain": 0.5, "muted": False, "revision": -1},
        {"gain": 0.5, "muted": False, "revision": 1.0},
        {"gain": 0.5, "muted": False, "revision": MAX_REVISION + 1},
    ],
)
def test_a_broken_volume_is_told_in_one_line_and_ignored(content: Any, caplog: pytest.LogCaptureFixture) -> None:
    disk = DiskStandIn(live={PATH: File(json.dumps({"volume": content}).encode())})
    assert stored(disk).volume == NEVER_SET
    assert len(caplog.records) == 1
    assert str(PATH) in caplog.text
