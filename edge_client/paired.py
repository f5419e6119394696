"""What a device keeps of its pairing: `pairing.json` in its state folder, which only its user may read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from avatar_relay.credentials import clean_token
from avatar_relay.ids import is_valid_id
from edge_client.state import Disk, StateFile

logger = logging.getLogger(__name__)

MAX_CERTIFICATE_CHARACTERS = 32_768


@dataclass(frozen=True, slots=True)
class Paired:
    """The relay that let the device in, and by what each knows the other."""

    address: str
    relay_name: str
    """As it announces itself; empty if it was not found that way."""
    device_id: str
    certificates: str = field(repr=False)
    """PEM: what vouches for the relay."""
    certificate_name: str
    """The name that its certificate has."""
    token: str = field(repr=False)


class PairingFile:
    """Reads and writes it. Blocks for as long as the disk does."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self._file = StateFile(folder / "pairing.json", disk)

    @property
    def path(self) -> Path:
        """Where it is: to be removed to pair anew."""
        return self._file.path

    def read(self) -> Paired | None:
        """The pairing; None if there is none, or none that can be used, which the log says."""
        content = self._file.read()
        if not content:
            return None
        try:
            return _read(content)
        except ValueError as error:
            logger.warning("%s %s; the device pairs anew", self.path, error)
            return None

    def write(self, paired: Paired) -> bool:
        """Keep it; whether it is on the disk now."""
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
