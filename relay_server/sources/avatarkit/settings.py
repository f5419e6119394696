"""What can be set about a Server SDK of AvatarKit, checked once. Credentials are not among it: see `credentials`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from avatar_relay.errors import ConfigError
from avatar_relay.limits import PCM_RATES_HZ

SDKS = ("spatius", "spatialreal")
"""Names of the sources, of their tables in the configuration, and of the PyPI packages."""
API_KEY_VARIABLES = {name: f"AVATAR_RELAY_{name.upper()}_API_KEY" for name in SDKS}


@dataclass(frozen=True, slots=True, kw_only=True)
class AvatarKitSettings:
    """One account. Raises `ConfigError` where a value can not be."""

    sdk: str
    """`spatius` or `spatialreal`."""
    app_id: str = ""
    avatar_id: str = ""
    region: str = ""
    """The vendor's region (`us-west`, …), where the URLs are not given."""
    console_url: str = ""
    """Where tokens come from; with `ingress_url`, or not at all. Given both, no region is looked up."""
    ingress_url: str = ""
    """The Motion Server."""
    api_key_file: Path | None = None
    """A file with the API key on its first line; else the environment has it."""
    sample_rate_hz: int = 22_050
    """Rate of the sessions that are kept warm: that of the sound that is usual. espeak-ng makes 22,050 Hz."""
    warm_sessions: int = 0
    """Sessions that are kept ready, from the start on. Each is paid for, silence included."""
    max_sessions: int = 2
    """Sessions at once: what the plan allows, or less."""
    idle_close_s: int = 60
    """A session that is not one of the warm ones is closed after so long without speech."""
    session_max_s: int = 0
    """The plan's longest session, 0 where it has none: an idle one is renewed before that, the old one closed first."""
    start_timeout_s: int = 10
    """For token, WebSocket and handshake together; a conversation waits so long for a session, and is sound only without."""
    vendor_telemetry: bool = False
    """Let the SDK send its own telemetry to its maker."""

    def __post_init__(self) -> None:
        for name in ("app_id", "avatar_id"):
            if not getattr(self, name):
                raise ConfigError(f"{self.sdk}.{name}: is missing; the vendor's console shows it")
        if bool(self.console_url) != bool(self.ingress_url):
            raise ConfigError(f"{self.sdk}: console_url and ingress_url go together; give both, or a region")
        if not self.console_url and not self.region:
            raise ConfigError(f"{self.sdk}.region: is missing (such as us-west), where console_url and ingress_url are not given")
        for name, schemes in (("console_url", ("http", "https")), ("ingress_url", ("http", "https", "ws", "wss"))):
            url = getattr(self, name)
            if url and not _is_url(url, schemes):
                raise ConfigError(f"{self.sdk}.{name}: is not a URL of {', '.join(schemes)} without user, query and fragment")
        if self.sample_rate_hz not in PCM_RATES_HZ:
            raise ConfigError(f"{self.sdk}.sample_rate_hz: is not one of {', '.join(map(str, PCM_RATES_HZ))}")
        if not 0 <= self.warm_sessions <= self.max_sessions or self.max_sessions < 1:
            raise ConfigError(f"{self.sdk}: max_sessions must be at least 1, and warm_sessions at most that")
        if self.idle_close_s < 0 or self.start_timeout_s < 1:
            raise ConfigError(f"{self.sdk}: idle_close_s can not be negative, and start_timeout_s must be at least 1")
        if self.session_max_s and self.session_max_s <= 30:
            raise ConfigError(f"{self.sdk}.session_max_s: must be more than 30, or 0 where the plan has no limit")


def _is_url(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and not (parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        return False


def settings_from(sdk: str, table: Any) -> AvatarKitSettings:
    """Settings from a configuration's table `[spatius]` or `[spatialreal]`. Raises `ConfigError`."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"{sdk}: is not a table, such as [{sdk}]")
    if "api_key" in table:
        raise ConfigError(f"{sdk}.api_key: keys do not belong into the configuration; set {API_KEY_VARIABLES[sdk]}, or api_key_file")
    known = {field.name: str(field.type) for field in fields(AvatarKitSettings) if field.name != "sdk"}
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            raise ConfigError(f"{sdk}.{name}: no such setting; there are {', '.join(known)}")
        expected = {"str": str, "int": int, "bool": bool}.get(known[name], str)
        if type(value) is not expected:
            raise ConfigError(f"{sdk}.{name}: {value!r} is not of type {expected.__name__}")
        values[name] = Path(str(value)) if name == "api_key_file" else value
    return AvatarKitSettings(sdk=sdk, **values)
