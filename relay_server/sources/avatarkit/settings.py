"""The settings of an AvatarKit Server SDK, validated once. Credentials are not included: see `plugin`."""

# ruff: noqa: RUF009 - `setting` makes a dataclass field
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from avatar_relay import setting_types as takes
from avatar_relay.errors import ConfigError
from avatar_relay.limits import PCM_RATES_HZ
from avatar_relay.settings import setting

SDKS = ("spatius", "spatialreal")
"""Names of the sources, of their tables in the configuration, and of the PyPI packages."""
API_KEY_VARIABLES = {name: f"AVATAR_RELAY_{name.upper()}_API_KEY" for name in SDKS}


@dataclass(frozen=True, slots=True, kw_only=True)
class AvatarKitSettings:
    """Settings of one account. Raises `ConfigError` if a value is invalid."""

    sdk: str
    """`spatius` or `spatialreal`."""
    app_id: str = setting("", takes.text("ID"), "application id, from the vendor's console; must be given")
    avatar_id: str = setting("", takes.text("ID"), "avatar id, from the vendor's console; must be given")
    region: str = setting("", takes.text("REGION"), "the vendor's region, such as us-west; must be given unless both URLs are")
    console_url: str = setting("", takes.text("URL"), "where tokens come from; goes with ingress_url, and no region is looked up then")
    ingress_url: str = setting("", takes.text("URL"), "the Motion Server; goes with console_url")
    api_key_file: Path | None = setting(None, takes.path(), "file with the API key on its first line; else the environment has it")
    sample_rate_hz: int = setting(
        22_050,
        takes.whole_number(min(PCM_RATES_HZ), max(PCM_RATES_HZ), "Hz"),
        "sample rate of the sessions kept warm; espeak-ng makes 22050 Hz",
    )
    warm_sessions: int = setting(0, takes.whole_number(0, 1_000), "sessions kept open from the start; each is paid for, silence included")
    max_sessions: int = setting(2, takes.whole_number(1, 1_000), "most sessions open at once: what the plan allows, or less")
    idle_close_s: int = setting(
        60, takes.whole_number(0, 86_400, "s"), "a session beyond the warm ones is closed after this long without speech"
    )
    session_max_s: int = setting(
        0,
        takes.whole_number(0, 86_400, "s"),
        "the plan's longest session, 0 for none: an idle one is renewed before that, the old one closed first",
    )
    start_timeout_s: int = setting(
        10, takes.whole_number(1, 300, "s"), "limit for token, WebSocket and handshake together; then the conversation has sound only"
    )
    vendor_telemetry: bool = setting(False, takes.switch(), "let the SDK send its own telemetry to its vendor")

    def __post_init__(self) -> None:
        for name in ("app_id", "avatar_id"):
            if not getattr(self, name):
                raise ConfigError(f"{self.sdk}.{name}: is missing; the vendor's console shows it")
        if bool(self.console_url) != bool(self.ingress_url):
            raise ConfigError(f"{self.sdk}: console_url and ingress_url go together; give both, or a region")
        if not self.console_url and not self.region:
            raise ConfigError(f"{self.sdk}.region: is missing (such as us-west), if console_url and ingress_url are not given")
        for name, schemes in (("console_url", ("http", "https")), ("ingress_url", ("http", "https", "ws", "wss"))):
            url = getattr(self, name)
            if url and not _is_url(url, schemes):
                raise ConfigError(f"{self.sdk}.{name}: is not a URL of {', '.join(schemes)} without user, query and fragment")
        if self.sample_rate_hz not in PCM_RATES_HZ:
            raise ConfigError(f"{self.sdk}.sample_rate_hz: is not one of {', '.join(map(str, PCM_RATES_HZ))}")
        if not 0 <= self.warm_sessions <= self.max_sessions or self.max_sessions < 1:
            raise ConfigError(f"{self.sdk}: max_sessions must be at least 1, and warm_sessions at most that")
        if self.idle_close_s < 0 or self.start_timeout_s < 1:
            raise ConfigError(f"{self.sdk}: idle_close_s cannot be negative, and start_timeout_s must be at least 1")
        if self.session_max_s and self.session_max_s <= 30:
            raise ConfigError(f"{self.sdk}.session_max_s: must be more than 30, or 0 if the plan has no limit")


def _is_url(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and not (parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        return False
