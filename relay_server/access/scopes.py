"""The RPCs of each role, and the devices that an identity may reach. Pure.

Rules

1. An RPC that is not listed here is refused: a new RPC must first be added to a role.
2. A device attaches, under its own name only. A publisher publishes. An operator watches and controls. An identity may have fewer RPCs than
   its role, never more.
3. A scope names devices and groups; a trailing `*` matches any ending. A group's name covers its members, and a group is covered if all its
   members are.
4. Health's `Check` needs no credentials: it reports whether the relay serves, and nothing else. Nor does `Pair`, if it is offered: a device
   that waits there has no credentials yet. Reflection and health's `Watch` need any identity.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

EVERYWHERE = "*"


class Role(enum.StrEnum):
    """The purpose of an identity."""

    DEVICE = "device"
    PUBLISHER = "publisher"
    OPERATOR = "operator"


_DEVICE, _PUBLISHER, _ADMIN = (f"/avatar_relay.v1.{service}/" for service in ("DeviceService", "PublisherService", "AdminService"))
_CHANNELZ = "/grpc.channelz.v1.Channelz/"
_OPERATIONS = (
    "ListDevices",
    "GetDevice",
    "Speak",
    "Interrupt",
    "Pause",
    "Resume",
    "SetVolume",
    "Drain",
    "WatchEvents",
    "PairDevice",
    "SetSettings",
    "RestartDevice",
    "IdentifyDevice",
    "UpdateDevice",
)

RPCS: Mapping[Role, frozenset[str]] = {
    Role.DEVICE: frozenset({"Attach"}),
    Role.PUBLISHER: frozenset({"Publish"}),
    Role.OPERATOR: frozenset({*_OPERATIONS, "Channelz"}),
}
"""RPCs that each role may be granted, by name."""

_NAMES = {_DEVICE + "Attach": "Attach", _PUBLISHER + "Publish": "Publish"} | {_ADMIN + rpc: rpc for rpc in _OPERATIONS}
_NAMES[_ADMIN + "SetMuted"] = "SetVolume"
_FOR_EVERY_IDENTITY = frozenset({"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "/grpc.health.v1.Health/Watch"})
_FOR_EVERYBODY = frozenset({"/grpc.health.v1.Health/Check", "/avatar_relay.v1.PairingService/Pair"})


def is_for_everybody(method: str) -> bool:
    """Whether `method` (`/package.Service/Rpc`) needs no credentials."""
    return method in _FOR_EVERYBODY


def is_granted(method: str, rpcs: frozenset[str]) -> bool:
    """Whether an identity with these granted `rpcs` may call `method`."""
    if method in _FOR_EVERY_IDENTITY or method in _FOR_EVERYBODY:
        return True
    name = "Channelz" if method.startswith(_CHANNELZ) else _NAMES.get(method)
    return name is not None and name in rpcs


@dataclass(frozen=True, slots=True)
class Scope:
    """The devices that may be reached."""

    names: tuple[str, ...]
    """Devices and groups; a trailing `*` matches any ending."""
    groups: Mapping[str, tuple[str, ...]]
    """The relay's groups: their members, by name."""

    @property
    def everywhere(self) -> bool:
        """Whether it covers all devices, including future ones."""
        return EVERYWHERE in self.names

    def covers(self, target: str) -> bool:
        """Whether a device, or a whole group, is in the scope."""
        if self._names(target):
            return True
        if target in self.groups:
            return all(self._covers_device(member) for member in self.groups[target])
        return self._covers_device(target)

    def _covers_device(self, device_id: str) -> bool:
        return self._names(device_id) or any(self._names(group) for group, members in self.groups.items() if device_id in members)

    def _names(self, target: str) -> bool:
        return any(target.startswith(name[:-1]) if name.endswith("*") else target == name for name in self.names)
