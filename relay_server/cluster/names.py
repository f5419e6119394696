"""The NATS subjects of a cluster. Pure.

A dot separates tokens of a subject, so a dot in a device id is written as `~`, which no id contains.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClusterNames:
    """The subjects of a cluster. `prefix` is the cluster's name, `relay` this relay's name."""

    prefix: str
    relay: str

    @property
    def claims(self) -> str:
        """Wildcard for all claims."""
        return f"{self.prefix}.claim.*"

    @property
    def beats(self) -> str:
        """Heartbeats of relays."""
        return f"{self.prefix}.here"

    def claim(self, device_id: str) -> str:
        """Claims of one device."""
        return f"{self.prefix}.claim.{device_id.replace('.', '~')}"

    def device(self, device_id: str) -> str:
        """Look-ups of a device; the relay that has it answers."""
        return f"{self.prefix}.device.{device_id.replace('.', '~')}"

    def opening(self, relay: str) -> str:
        """Requests to a relay to open a tunnel."""
        return f"{self.prefix}.tunnel.{relay.replace('.', '~')}"

    def publishers(self, relay: str) -> str:
        """Questions to a relay whether it knows a publisher."""
        return f"{self.prefix}.publisher.{relay.replace('.', '~')}"

    def admin(self, relay: str) -> str:
        """Requests of operators to a relay."""
        return f"{self.prefix}.admin.{relay.replace('.', '~')}"

    def address(self, relay: str) -> str:
        """Questions to a relay for the address at which it accepts devices now."""
        return f"{self.prefix}.address.{relay.replace('.', '~')}"

    def link(self, relay: str) -> str:
        """Questions to a relay for the address at which it accepts links."""
        return f"{self.prefix}.link.{relay.replace('.', '~')}"

    def watch(self, number: str) -> str:
        """Events for a relay whose caller watches."""
        return f"{self.prefix}.watch.{number}"

    def joined(self, relay: str) -> str:
        """Joined messages of tunnels, to a relay."""
        return f"{self.prefix}.joined.{relay.replace('.', '~')}"

    def up(self, tunnel: str) -> str:
        """From a tunnel's door to its home."""
        return f"{self.prefix}.up.{tunnel}"

    def down(self, tunnel: str) -> str:
        """From a tunnel's home to its door."""
        return f"{self.prefix}.down.{tunnel}"
