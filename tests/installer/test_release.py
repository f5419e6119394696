"""The installed release: sources, a wheel, the running version."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from avatar_relay.installer import release
from avatar_relay.installer.plan import DEVICE, RELAY
from tests.lab.data import PROJECT_ROOT


class Installed:
    """A distribution installed by pip from some origin."""

    version = "9.1"

    def __init__(self, url: str) -> None:
        self._url = url

    def read_text(self, name: str) -> str | None:
        """Return the file that pip wrote."""
        return json.dumps({"url": self._url}) if name == "direct_url.json" and self._url else None


def test_a_clone_is_itself() -> None:
    """Scripts run in it, and so does a development environment."""
    found = release.own_release([DEVICE])
    assert found == release.of_sources(PROJECT_ROOT, [DEVICE])
    assert found.requirement == (f"{PROJECT_ROOT}[discovery,edge,pairing]",)
    assert found.compiles
    assert release.own_release([RELAY]).requirement == (f"{PROJECT_ROOT}[discovery,pairing,relay]",)
    assert not release.own_release([RELAY]).compiles


def test_an_installed_wheel_is_what_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file, by content; an index, by version. A missing file is reported."""
    monkeypatch.setattr(release, "SOURCES", tmp_path)
    wheel = tmp_path / "a b.whl"
    wheel.write_bytes(b"1")
    url = [wheel.as_uri()]
    monkeypatch.setattr(release, "distribution", lambda _: Installed(url[0]))
    first = release.own_release([DEVICE])
    assert first.requirement == (f"{wheel}[discovery,edge,pairing]",)
    assert first.name.startswith("9.1-edge-")
    wheel.write_bytes(b"2")
    assert release.own_release([DEVICE]).name != first.name
    wheel.unlink()
    with pytest.raises(ValueError, match="is gone"):
        release.own_release([DEVICE])
    url[0] = ""
    assert release.own_release([DEVICE]).requirement == ("avatar-relay[discovery,edge,pairing]==9.1",)


def test_a_version_that_is_installed_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sudo edge-client install --rotation 90` changes a setting, and builds nothing."""
    monkeypatch.setattr(release, "SOURCES", tmp_path)
    monkeypatch.setattr(sys, "prefix", "/opt/avatar-relay/versions/9.1-edge-12345678")
    assert release.own_release([DEVICE]) == release.SoftwareRelease("9.1-edge-12345678", ())
