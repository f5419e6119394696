"""The identities, each with its credentials and permissions. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from avatar_relay.errors import ConfigError
from avatar_relay.ids import ID_RULE, is_valid_id
from relay_server.access.scopes import EVERYWHERE, RPCS, Role
from relay_server.access.tokens import TokenRecord

MAX_IDENTITIES = 100_000
MAX_TOKENS = 8
"""Per identity: a rotation adds one, and the old ones expire."""
STREAMS = {Role.DEVICE: 16, Role.PUBLISHER: 6, Role.OPERATOR: 32}
"""RPCs that an identity may have open at once, by default. A device needs one, plus those that broke silently, until the relay notices. For
each stream of a publisher, gRPC buffers up to 8 MiB of a message that has not fully arrived.
"""
CALLS_PER_MINUTE = {Role.DEVICE: 120, Role.PUBLISHER: 240, Role.OPERATOR: 1_200}
"""RPCs that an identity may begin per minute, by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """An identity. Raises `ConfigError` if its fields are invalid.

    A caller must present all of its credentials: a token if it has tokens, and a certificate if it has a certificate name.
    """

    role: Role
    name: str
    devices: tuple[str, ...] = ()
    """The devices and groups that it may reach; a name may end with `*` as a wildcard. A device reaches itself."""
    rpcs: frozenset[str] = frozenset()
    """The RPCs that it may call, a subset of its role's; empty: all of them."""
    certificate: str = ""
    """The name (subject alternative name, or common name) in its certificate; empty: it needs none."""
    tokens: tuple[TokenRecord, ...] = ()
    revoked: bool = False
    trusted_sampling: bool = False
    """Whether the sampled flag and context of its traces are used; otherwise its conversations begin new traces."""
    streams: int = 0
    """Maximum RPCs open at once; 0: the role's `STREAMS`."""
    calls_per_minute: int = 0
    """Maximum RPCs begun per minute; 0: the role's `CALLS_PER_MINUTE`."""

    def __post_init__(self) -> None:
        if not is_valid_id(self.name):
            raise ConfigError(f"{self.role} {self.name[:64]!r}: a name is {ID_RULE}")
        for name in self.devices:
            if name != EVERYWHERE and not is_valid_id(name.removesuffix("*")):
                raise ConfigError(f"{self.key}: {name[:64]!r} is no device or group; a name is {ID_RULE}, and may end with *")
        if self.role is Role.DEVICE and self.devices:
            raise ConfigError(f"{self.key}: a device reaches itself only; leave its devices out")
        strange = sorted(self.rpcs - RPCS[self.role])
        if strange:
            raise ConfigError(
                f"{self.key}: {strange[0][:64]!r} is no RPC for the role {self.role}; there are {', '.join(sorted(RPCS[self.role]))}"
            )
        if len(self.tokens) > MAX_TOKENS:
            raise ConfigError(f"{self.key}: {len(self.tokens)} tokens; at most {MAX_TOKENS} are kept")
        if self.streams < 0 or self.calls_per_minute < 0:
            raise ConfigError(f"{self.key}: streams and calls_per_minute cannot be negative")

    @property
    def key(self) -> str:
        """Role and name, separated by a space."""
        return f"{self.role} {self.name}"

    @property
    def granted(self) -> frozenset[str]:
        """The RPCs it may call."""
        return self.rpcs or RPCS[self.role]

    @property
    def reach(self) -> tuple[str, ...]:
        """The devices it may reach."""
        return (self.name,) if self.role is Role.DEVICE else self.devices

    @property
    def max_streams(self) -> int:
        """Maximum RPCs open at once."""
        return self.streams or STREAMS[self.role]

    @property
    def max_calls_per_minute(self) -> int:
        """Maximum RPCs begun per minute."""
        return self.calls_per_minute or CALLS_PER_MINUTE[self.role]

    def token(self, token_id: str) -> TokenRecord | None:
        """Its token with this id; None if it has none."""
        return next((token for token in self.tokens if token.token_id == token_id), None)


class Directory:
    """All identities, with lookup by token and certificate. Raises `ConfigError` if two share a name or credentials."""

    def __init__(self, identities: Iterable[Identity] = ()) -> None:
        self.identities: dict[str, Identity] = {}
        self._by_token: dict[str, Identity] = {}
        self._by_certificate: dict[str, Identity] = {}
        for identity in identities:
            self._add(self.identities, identity.key, identity, "that name")
            for token in identity.tokens:
                self._add(self._by_token, token.token_id, identity, "one of its token ids")
            if identity.certificate:
                self._add(self._by_certificate, identity.certificate, identity, "its certificate's name")
        if len(self.identities) > MAX_IDENTITIES:
            raise ConfigError(f"{len(self.identities)} identities; at most {MAX_IDENTITIES} are kept")

    def of_token(self, token_id: str) -> Identity | None:
        """The identity that has this token; None if unknown."""
        return self._by_token.get(token_id)

    def of_certificate(self, names: Iterable[str]) -> Identity | None:
        """The identity whose certificate has one of these names; None if unknown."""
        return next((self._by_certificate[name] for name in names if name in self._by_certificate), None)

    @staticmethod
    def _add(index: dict[str, Identity], key: str, identity: Identity, what: str) -> None:
        if key in index:
            raise ConfigError(f"{identity.key}: {index[key].key} has {what} as well")
        index[key] = identity
