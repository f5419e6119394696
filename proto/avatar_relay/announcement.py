"""A relay's announcement in the local network by multicast DNS (DNS-SD), and the order in which a device tries several. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SERVICE = "_avatar-relay._tcp.local."
MAX_NAME_BYTES = 63
"""Length of one label in DNS."""
_TLS, _PAIRING, _YES = "tls", "pairing", "1"


@dataclass(frozen=True, slots=True)
class Announcement:
    """A relay according to its own announcement. None of it is proven."""

    name: str
    addresses: tuple[str, ...]
    """Each HOST:PORT; IPv4 addresses first."""
    tls: bool = False
    pairing: bool = False
    """It accepts pairing."""

    def properties(self) -> dict[str, str]:
        """The announcement's TXT record."""
        return {_TLS: str(int(self.tls)), _PAIRING: str(int(self.pairing))}

    def __str__(self) -> str:
        return f"{self.name} at {' or '.join(self.addresses)} ({'TLS' if self.tls else 'plaintext'})"


def read_announcement(name: str, hosts: Iterable[str], port: int, properties: Mapping[bytes, bytes | None]) -> Announcement | None:
    """An announcement received from the network; None if it has no usable address."""
    if not 0 < port < 65_536:
        return None
    usable = [host for host in hosts if not host.lower().startswith("fe80")]  # link-local addresses need an interface name
    addresses = tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in sorted(usable, key=lambda host: ":" in host))
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)[:MAX_NAME_BYTES]
    said = {key: value == _YES.encode() for key, value in properties.items()}
    return Announcement(shown, addresses, said.get(_TLS.encode(), False), said.get(_PAIRING.encode(), False)) if addresses else None


def in_order(found: Iterable[Announcement]) -> list[Announcement]:
    """Relays in the order in which a device tries them: those with TLS first, then by name and address, the same on all devices."""
    return sorted(found, key=lambda one: (not one.tls, one.name, one.addresses))
