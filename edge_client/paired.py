"""The stored pairing of a device: `pairing.json` in its state folder, readable only by its user."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from avatar_relay.credentials import clean_token
from avatar_relay.errors import ConfigError
from avatar_relay.ids import is_valid_id
from edge_client.state import PASSING, Disk, StateFile

logger = logging.getLogger(__name__)

MAX_CERTIFICATE_CHARACTERS = 32_768


@dataclass(frozen=True, slots=True)
class Paired:
    """The relay that admitted the device, and the credentials of both."""

    address: str
    relay_name: str
    """Its announced name; empty if it was not found by discovery."""
    device_id: str
    certificates: str = field(repr=False)
    """PEM certificates by which the relay is verified."""
    certificate_name: str
    """The name in its certificate."""
    token: str = field(repr=False)


class PairingFile:
    """Reads and writes the pairing. Blocks for as long as the disk does."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self._file = StateFile(folder / "pairing.json", disk)

    @property
    def path(self) -> Path:
        """The path of the file: remove it to pair again."""
        return self._file.path

    def read(self) -> Paired | None:
        """The pairing; None if there is none, or if it is unusable, which is logged.

        Raises `ConfigError` if it cannot be read for a passing reason: the device must not pair anew, or go to another relay.
        """
        try:
            content = self._file.load()
        except OSError as error:
            if error.errno in PASSING:
                advice = "if this persists, remove the file and pair again"
                raise ConfigError(f"pairing: {self.path} cannot be read now: {error.strerror}; {advice}") from error
            content = self._file.read()
        if not content:
            return None
        try:
            return _read(content)
        except ValueError as error:
            logger.warning("%s %s; the device pairs anew", self.path, error)
            return None

    def write(self, paired: Paired) -> bool:
        """Store the pairing; returns whether it is on the disk."""
        return self._file.write(asdict(paired))


def _read(content: Mapping[str, object]) -> Paired:
    values = {name: content.get(name) for name in Paired.__slots__}
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    if len(texts) != len(values):
        raise ValueError("is no pairing")
    paired = Paired(**texts)
    if not is_valid_id(paired.device_id) or clean_token(paired.token) != paired.token:
        raise ValueError("has no device's name, or no token")
    if "BEGIN CERTIFICATE" not in paired.certificates or len(paired.certificates) > MAX_CERTIFICATE_CHARACTERS:
        raise ValueError("has no certificate")
    return paired
