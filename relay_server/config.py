"""The relay's settings: declared and checked in one place."""

# ruff: noqa: RUF009 - `setting` returns a dataclass field
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from avatar_relay import setting_types as takes
from avatar_relay.addresses import is_loopback, is_wildcard, split_address
from avatar_relay.errors import ConfigError
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.limits import (
    DEVICE_LEASE_US,
    HEARTBEAT_US,
    IDLE_HEARTBEAT_US,
    MAX_IDLE_HEARTBEAT_US,
    MAX_PAYLOAD_BYTES,
    PEER_TIMEOUT_US,
    PUBLISHER_LEASE_US,
)
from avatar_relay.log_settings import LogFormat, LogLevel
from avatar_relay.settings import setting

Wanted = Literal["auto", "on", "off"]

LOCAL = "local"
"""The source of every device without a configured one."""
GRANT_STEP_BYTES = 512 << 10
"""Publisher credit is returned in steps of this size, so that a grant costs one message for many payloads."""
SMALLEST_WINDOW_BYTES = MAX_PAYLOAD_BYTES + GRANT_STEP_BYTES
"""Room for the largest payload plus credit not yet returned."""
MAX_MEDIA_TICK_US = 10_000
ADMIN_OFF = "off"
"""Value of `admin_listen`: AdminService is not served."""
_MAX_BYTES = 1 << 30
_LONGEST_MS = 24 * 3_600_000


def _milliseconds(low: int) -> takes.SettingType:
    return takes.whole_number(low, _LONGEST_MS, "ms", scale=1_000)


def _count() -> takes.SettingType:
    return takes.whole_number(1, 1_000_000)


def _read_devices(value: Any) -> dict[str, str]:
    """Sources by device, from `lobby = "local"` or `[devices.lobby] source = "local"`. Raises `ValueError`."""
    devices = {}
    for name, entry in value.items() if isinstance(value, Mapping) else ((value, None),):
        source = entry.get("source") if isinstance(entry, Mapping) and len(entry) == 1 else entry
        if not isinstance(source, str):
            raise ValueError('takes a table such as {lobby = "local"}, or a table for each device with only its source')
        devices[str(name)] = source
    return devices


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayConfig:
    """Settings of a relay; times are in µs. The constructor checks rules between settings, not the range of each value.

    Raises `ConfigError`.
    """

    listen: str = setting(
        "127.0.0.1:52000",
        takes.text("HOST:PORT"),
        "where to listen; port 0 takes a free one. An address that others can reach needs TLS and an access file, or insecure_listen",
    )
    insecure_listen: bool = setting(False, takes.switch(), "allow plaintext, or no access control, on an address that others can reach")
    admin_listen: str = setting(
        "", takes.text("HOST:PORT|off"), "where AdminService, reflection and channelz are served; without it, with the rest; off: nowhere"
    )
    reflection: bool = setting(True, takes.switch(), "serve gRPC reflection, which grpcurl uses")
    channelz: bool = setting(False, takes.switch(), "serve channelz, gRPC's own view of its channels")
    access_file: Path | None = setting(None, takes.path(), "access-control file, written by relayctl; without it, no authentication")
    tls_cert_file: Path | None = setting(
        None, takes.path(), "the relay's certificate (PEM), reloaded when it changes; without it, plaintext"
    )
    tls_key_file: Path | None = setting(None, takes.path(), "the certificate's key (PEM)")
    tls_client_ca_file: Path | None = setting(
        None, takes.path(), "certificates (PEM) that clients' certificates must chain to; then every client needs one"
    )
    announce: Wanted = setting(
        "auto",
        takes.choice(*get_args(Wanted)),
        "announce the relay in the local network, so that devices find it; auto: if other machines can reach it and zeroconf is installed",
    )
    pairing: Wanted = setting(
        "auto",
        takes.choice(*get_args(Wanted)),
        "allow devices to pair by `relayctl pair`; auto: if TLS, an access file and the package spake2 are available",
    )
    pairing_ca_file: Path | None = setting(
        None,
        takes.path(),
        "CA certificates (PEM) that paired devices trust, so that the relay's certificate can be renewed; without it, only the current one",
    )
    proxies: tuple[str, ...] = setting(
        (),
        takes.networks(),
        "addresses and networks of proxies in front of the relay; the limits per address do not apply to them",
    )
    groups: Mapping[str, tuple[str, ...]] = setting(
        {}, takes.table_of_lists('a table such as {hall = ["left", "right"]}'), "groups: names for several devices"
    )
    devices: Mapping[str, str] = setting(
        {},
        takes.structured(_read_devices, "TABLE", 'a table such as {lobby = "local"}'),
        "the source of each device or group: local (espeak-ng, and motion from the sound), or a source with its own table",
    )
    speech_folder: Path | None = setting(None, takes.path("FOLDER"), "where Speak finds files; without it, it takes text only")
    speech_voice: str = setting("en-us", takes.text("VOICE"), "espeak-ng voice for text: `de`, `en-us`, `fr+f3`, …")
    speech_rate: int = setting(175, takes.whole_number(80, 450), "speech rate in words a minute")
    speech_pitch: int = setting(50, takes.whole_number(0, 100), "pitch of the voice")
    speech_voices: Mapping[str, str] = setting(
        {}, takes.table_of_texts('a table such as {lobby = "de"}'), "other voices for devices or groups"
    )
    device_lease_us: int = setting(
        DEVICE_LEASE_US, _milliseconds(0), "how long a device's session outlives its stream", name="device_lease_ms"
    )
    publisher_lease_us: int = setting(
        PUBLISHER_LEASE_US, _milliseconds(0), "how long a publisher's conversations stay open without it", name="publisher_lease_ms"
    )
    heartbeat_us: int = setting(HEARTBEAT_US, _milliseconds(1), "how often the relay pings a device", name="heartbeat_ms")
    idle_heartbeat_us: int = setting(
        IDLE_HEARTBEAT_US,
        takes.whole_number(1, MAX_IDLE_HEARTBEAT_US // 1_000, "ms", scale=1_000),
        "the same for a device without a conversation, if it supports that; values up to heartbeat_ms have no effect",
        name="idle_heartbeat_ms",
    )
    peer_timeout_us: int = setting(
        PEER_TIMEOUT_US,
        _milliseconds(1),
        "the stream of a device, or of a publisher that sent hello, ends after this much silence; longer than heartbeat_ms",
        name="peer_timeout_ms",
    )
    window_bytes: int = setting(
        SMALLEST_WINDOW_BYTES,
        takes.whole_number(SMALLEST_WINDOW_BYTES, _MAX_BYTES, "bytes"),
        "media kept at the relay for each conversation and kind",
    )
    lag_bytes: int = setting(
        8 << 20,
        takes.whole_number(SMALLEST_WINDOW_BYTES, _MAX_BYTES, "bytes"),
        "a member of a group that lags by more than this loses the conversation; at least window_bytes",
    )
    retention_us: int = setting(
        30_000_000,
        _milliseconds(0),
        "media that was sent but not acknowledged is kept this long, to resend it after a cut",
        name="retention_ms",
    )
    retention_bytes: int = setting(4 << 20, takes.whole_number(0, _MAX_BYTES, "bytes"), "and up to this size for each conversation")
    media_tick_us: int = setting(
        0,
        takes.whole_number(0, MAX_MEDIA_TICK_US // 1_000, "ms", scale=1_000),
        "delay media by up to this long, so that fewer messages carry it; 0: send at once",
        name="media_tick_ms",
    )
    max_devices: int = setting(1_000, _count(), "maximum device sessions, attached or within their lease")
    max_publishers: int = setting(200, _count(), "maximum publishers, connected or within their lease")
    max_publishers_per_identity: int = setting(
        16, _count(), "maximum publishers of one identity, over all its connections, including streams by hand"
    )
    max_conversations_per_identity: int = setting(1_000, _count(), "maximum open conversations of all publishers of one identity")
    max_conversations: int = setting(4_000, _count(), "maximum open conversations on all devices")
    max_conversations_per_device: int = setting(32, _count(), "maximum conversations playing or waiting on one device")
    max_payloads_per_second: int = setting(
        50_000,
        takes.whole_number(1, 1_000_000_000),
        "maximum payloads and fragments a second from one publisher; bursts of twice as many",
    )
    drain_grace_us: int = setting(20_000_000, _milliseconds(0), "how long a drain waits for conversations to finish", name="drain_grace_ms")
    cluster_nats: tuple[str, ...] = setting(
        (),
        takes.words("URL", "URLs of NATS servers, separated by commas, such as tls://nats-1.example:4222"),
        "NATS servers that connect the relays of a cluster; without it, no cluster",
    )
    cluster_name: str = setting("avatar-relay", takes.text("NAME"), "name of the cluster, the prefix of its subjects")
    cluster_relay: str = setting("", takes.text("NAME"), "this relay's name in the cluster; empty: the machine's, with random characters")
    cluster_address: str = setting(
        "",
        takes.text("HOST:PORT"),
        "this relay's address as in the lists of devices, which a relay that drains sends to it; empty: that of listen",
    )
    cluster_listen: str = setting(
        "",
        takes.text("HOST:PORT"),
        "an address of this machine at which other relays connect, so that payloads need not go through NATS; port 0 takes a free one; "
        "empty: they go through NATS",
    )
    cluster_secret_file: Path | None = setting(
        None, takes.path(), "file with a secret of at least 32 bytes, the same at all relays of the cluster"
    )
    cluster_tls_ca_file: Path | None = setting(None, takes.path(), "CA certificates (PEM) to verify NATS servers with tls://")
    cluster_tls_cert_file: Path | None = setting(None, takes.path(), "certificate (PEM) to present to NATS servers")
    cluster_tls_key_file: Path | None = setting(None, takes.path(), "the certificate's key (PEM)")
    workers: int = setting(
        1,
        takes.whole_number(1, 64),
        "processes that share the address, one for each core; more than one are a cluster, and each limit holds for each of them by itself",
    )
    port_file: Path | None = setting(None, takes.path(), "write the port to this file when listening")
    log_level: LogLevel = setting("warning", takes.choice(*get_args(LogLevel)), "minimum level of logged messages")
    log_format: LogFormat = setting(
        "auto",
        takes.choice(*get_args(LogFormat)),
        "how the log is written: lines of text, an object of JSON in each line, or entries of systemd's journal; auto: journal in a unit",
    )
    sources: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    """Settings of the configured sources, by name. Not a setting itself: each source has a table of its own."""
    siblings: str = ""
    """Common name prefix of all workers of this relay's supervisor; empty without one. Not a setting."""
    sockets: Path | None = None
    """A folder of the supervisor, for links between its workers; None without one. Not a setting."""

    def __post_init__(self) -> None:
        self._check_access()
        self._check_cluster()
        if self.heartbeat_us >= self.peer_timeout_us:
            text = f"{self.peer_timeout_us // 1_000} must be longer than heartbeat_ms ({self.heartbeat_us // 1_000})"
            raise ConfigError(f"peer_timeout_ms: {text}")
        if self.lag_bytes < self.window_bytes:
            raise ConfigError(f"lag_bytes: {self.lag_bytes} must be at least window_bytes ({self.window_bytes})")
        if self.speech_folder is not None and not self.speech_folder.is_dir():
            raise ConfigError(f"speech_folder: {self.speech_folder} is not a folder")
        for device, source in self.devices.items():
            if not is_valid_id(device):
                raise ConfigError(f"devices.{device}: is not the name of a device or group; a name is {ID_RULE}")
            if source != LOCAL and source not in self.sources:
                known = ", ".join(sorted({LOCAL, *self.sources}))
                raise ConfigError(f"devices.{device}.source: {source!r} is not set up; there are {known}. An SDK has a table of its own")
        for group, members in self.groups.items():
            bad = [name for name in (group, *members) if not is_valid_id(name)]
            if bad or not members or group in members:
                raise ConfigError(f"groups.{group}: needs a list of device ids; a name is {ID_RULE}, and not the group's own")

    @property
    def is_worker(self) -> bool:
        """Whether other workers share this one's address."""
        return self.siblings != ""

    def _check_cluster(self) -> None:
        if (self.cluster_tls_cert_file is None) != (self.cluster_tls_key_file is None):
            raise ConfigError("cluster_tls_cert_file and cluster_tls_key_file come together")
        for name in ("cluster_name", "cluster_relay"):
            if (value := getattr(self, name)) and (not is_valid_id(value) or "." in value):
                raise ConfigError(f"{name}: {value[:80]!r} cannot be a name; it takes {ID_RULE}, without dots")
        if self.cluster_address:
            split_address(self.cluster_address, "cluster_address")
        if self.cluster_nats and self.cluster_secret_file is None:
            raise ConfigError("cluster_secret_file: a relay of a cluster needs one; `openssl rand -out FILE 32` makes it")

    def _check_access(self) -> None:
        cluster = ("cluster_secret_file", "cluster_tls_ca_file", "cluster_tls_cert_file", "cluster_tls_key_file")
        for name in ("access_file", "tls_cert_file", "tls_key_file", "tls_client_ca_file", "pairing_ca_file", *cluster):
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
        self._check_cluster_listen()

    def _check_cluster_listen(self) -> None:
        address = self.cluster_listen
        if not address:
            return
        host, _ = split_address(address, "cluster_listen", port_zero=True)
        if is_wildcard(host):
            raise ConfigError(f"cluster_listen: other relays cannot connect to {address}; name an address of this machine")
        if not self.cluster_nats:
            raise ConfigError("cluster_listen: needs cluster_nats, by which relays find each other")
        if not is_loopback(host) and self.tls_cert_file is None and not self.insecure_listen:
            hint = "set tls_cert_file and tls_key_file, or allow it by insecure_listen"
            raise ConfigError(f"cluster_listen: {address} can be reached by others in plaintext; {hint}")
