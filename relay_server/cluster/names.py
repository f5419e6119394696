"""The subjects of a cluster. Pure.

A dot divides a subject, so that one in a device's name is written as `~`, which no name has.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClusterNames:
    """`prefix` is the cluster's name, `relay` this relay's."""

    prefix: str
    relay: str

    @property
    def claims(self) -> str:
        """All claims."""
        return f"{self.prefix}.claim.*"

    @property
    def beats(self) -> str:
        """Where relays say that they are there."""
        return f"{self.prefix}.here"

    def claim(self, device_id: str) -> str:
        """Where a device is claimed."""
        return f"{self.prefix}.claim.{device_id.replace('.', '~')}"

    def device(self, device_id: str) -> str:
        """Where the relay that has a device answers."""
        return f"{self.prefix}.device.{device_id.replace('.', '~')}"

    def opening(self, relay: str) -> str:
        """Where a relay takes tunnels."""
        return f"{self.prefix}.tunnel.{relay.replace('.', '~')}"

    def publishers(self, relay: str) -> str:
        """Where a relay says whether it knows a publisher."""
        return f"{self.prefix}.publisher.{relay.replace('.', '~')}"

    def admin(self, relay: str) -> str:
        """Where a relay takes requests of operators."""
        return f"{self.prefix}.admin.{relay.replace('.', '~')}"

    def watch(self, number: str) -> str:
        """Where a relay whose caller watches is told of events."""
        return f"{self.prefix}.watch.{number}"

    def up(self, tunnel: str) -> str:
        """From the door of a tunnel to its home."""
        return f"{self.prefix}.up.{tunnel}"

    def down(self, tunnel: str) -> str:
        """From the home of a tunnel to its door."""
        return f"{self.prefix}.down.{tunnel}"
