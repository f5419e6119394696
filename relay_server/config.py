"""Everything about a relay that can be set, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from avatar_relay.addresses import is_loopback, split_address
from avatar_relay.errors import ConfigError
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.limits import DEVICE_LEASE_US, HEARTBEAT_US, MAX_PAYLOAD_BYTES, PEER_TIMEOUT_US, PUBLISHER_LEASE_US
from relay_server.sources.audio2face.settings import Audio2FaceSettings
from relay_server.sources.avatarkit.settings import AvatarKitSettings

LOCAL = "local"
"""The source that every device has without further ado."""
AUDIO2FACE = "audio2face"
GRANT_STEP_BYTES = 512 << 10
"""Publisher credit is returned in steps of this size, so that a grant costs one message for many payloads."""

MAX_MEDIA_TICK_US = 10_000

ADMIN_OFF = "off"
"""As `admin_listen`: nobody looks on or steers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayConfig:
    """Settings of a relay. Times are in µs. Raises `ConfigError` where a value can not be."""

    listen: str = "127.0.0.1:52000"
    """HOST:PORT to listen on; port 0 takes a free one. An address that is not loopback needs TLS and an access file, or
    `insecure_listen`."""
    insecure_listen: bool = False
    """Allow plaintext, or everybody, on an address that others can reach."""
    admin_listen: str = ""
    """Where AdminService, reflection and channelz are served: HOST:PORT; empty: with the rest; `off`: nowhere."""
    reflection: bool = True
    """Serve reflection, by which grpcurl learns what there is."""
    access_file: Path | None = None
    """Who may enter (`relayctl device create` …); none: everybody."""
    tls_cert_file: Path | None = None
    """The relay's certificate (PEM), read again when it changes; none: plaintext."""
    tls_key_file: Path | None = None
    """The certificate's key."""
    tls_client_ca_file: Path | None = None
    """Who vouches for clients' certificates (PEM); where set, nobody connects without one."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Names that stand for several devices."""
    devices: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Which source speaks on a device or group: `local` (espeak-ng, and motion from the sound), or a Server SDK that is set up."""
    avatarkit: Mapping[str, AvatarKitSettings] = field(default_factory=lambda: MappingProxyType({}))
    """AvatarKit's Server SDKs that are set up, by the source's name."""
    audio2face: Audio2FaceSettings | None = None
    """An Audio2Face-3D service that is set up."""
    speech_folder: Path | None = None
    """Where `Speak` finds files; none: it takes text only."""
    channelz: bool = False
    """Serve channelz, gRPC's own view of its channels."""
    device_lease_us: int = DEVICE_LEASE_US
    """How long a device's session outlives its stream."""
    publisher_lease_us: int = PUBLISHER_LEASE_US
    """How long a publisher's conversations stay open without it."""
    heartbeat_us: int = HEARTBEAT_US
    """How often the relay pings a device."""
    peer_timeout_us: int = PEER_TIMEOUT_US
    """The stream of a device, or of a publisher that said hello, ends where it says nothing for this long."""
    window_bytes: int = MAX_PAYLOAD_BYTES + GRANT_STEP_BYTES
    """What may wait at the relay per conversation and kind. Room for the largest payload plus credit not yet returned."""
    lag_bytes: int = 8 << 20
    """A member of a group that lags by more than this loses the conversation."""
    retention_us: int = 30_000_000
    """What was sent but is not held by the device is kept this long, to send it again after a cut …"""
    retention_bytes: int = 4 << 20
    """… and up to this size per conversation."""
    media_tick_us: int = 0
    """Media may wait this long (at most `MAX_MEDIA_TICK_US`), so that less messages carry more of it; 0: it leaves at once."""
    max_devices: int = 1_000
    """Sessions, attached or within their lease."""
    max_publishers: int = 200
    """Publishers, connected or within their lease."""
    max_conversations: int = 4_000
    """Conversations that are open or play, on all devices together."""
    max_payloads_per_second: int = 50_000
    """Payloads and fragments of one publisher; twice as many may come at once after a pause."""
    max_conversations_per_device: int = 32
    """Conversations that play or wait on one device."""
    drain_grace_us: int = 20_000_000
    """How long a drain waits for conversations to finish."""

    @property
    def sources(self) -> frozenset[str]:
        """Names that `devices` may choose from."""
        return frozenset({LOCAL, *self.avatarkit, *((AUDIO2FACE,) if self.audio2face else ())})

    def __post_init__(self) -> None:
        self._check_access()
        for name in ("device_lease_us", "publisher_lease_us", "heartbeat_us", "drain_grace_us", "retention_us", "retention_bytes"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}: {getattr(self, name)} is negative")
        if not 0 < self.heartbeat_us < self.peer_timeout_us:
            raise ConfigError(f"peer_timeout_us: {self.peer_timeout_us} must be longer than heartbeat_us ({self.heartbeat_us})")
        if not 0 <= self.media_tick_us <= MAX_MEDIA_TICK_US:
            raise ConfigError(f"media_tick_us: {self.media_tick_us} is not within 0 and {MAX_MEDIA_TICK_US}")
        smallest = MAX_PAYLOAD_BYTES + GRANT_STEP_BYTES
        if self.window_bytes < smallest or self.lag_bytes < self.window_bytes:
            raise ConfigError(f"window_bytes must be at least {smallest} and lag_bytes at least window_bytes")
        for name in ("max_devices", "max_publishers", "max_conversations", "max_conversations_per_device", "max_payloads_per_second"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)} must be at least 1")
        if self.speech_folder is not None and not self.speech_folder.is_dir():
            raise ConfigError(f"speech_folder: {self.speech_folder} is not a folder")
        for device, source in self.devices.items():
            if not is_valid_id(device):
                raise ConfigError(f"devices.{device}: is not the name of a device or group; a name is {ID_RULE}")
            if source not in self.sources:
                known = ", ".join(sorted(self.sources))
                raise ConfigError(f"devices.{device}.source: {source!r} is not set up; there are {known}. An SDK has a table of its own")
        for group, members in self.groups.items():
            bad = [name for name in (group, *members) if not is_valid_id(name)]
            if bad or not members or group in members:
                raise ConfigError(f"groups.{group}: needs a list of device ids; a name is {ID_RULE}, and not the group's own")

    def _check_access(self) -> None:
        for name in ("access_file", "tls_cert_file", "tls_key_file", "tls_client_ca_file"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ConfigError(f"{name}: there is no file {path}")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ConfigError("tls_cert_file and tls_key_file come together")
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ConfigError("tls_client_ca_file: needs tls_cert_file and tls_key_file")
        guarded = self.tls_cert_file is not None and self.access_file is not None
        for name, address in (("listen", self.listen), ("admin_listen", self.admin_listen)):
            if name == "admin_listen" and address in ("", ADMIN_OFF):
                continue
            if not is_loopback(split_address(address, name, port_zero=True)[0]) and not guarded and not self.insecure_listen:
                text = "in plaintext" if self.tls_cert_file is None else "without credentials"
                hint = "set tls_cert_file, tls_key_file and access_file, use 127.0.0.1, or allow it by insecure_listen"
                raise ConfigError(f"{name}: {address} can be reached by others {text}; {hint}")
