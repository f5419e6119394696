"""Settings of the connection to a relay, shared by `edge-client` and `relayctl`."""

# ruff: noqa: RUF009 - `setting` makes a dataclass field
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avatar_relay import setting_types as takes
from avatar_relay.addresses import is_loopback, split_address
from avatar_relay.errors import ConfigError
from avatar_relay.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """The shared settings."""

    insecure: bool = setting(False, takes.switch(), "use plaintext with a relay on another machine (default: TLS)")
    tls_ca_file: Path | None = setting(None, takes.path(), "CA certificates (PEM) to verify the relay; uses TLS on this machine too")
    tls_cert_file: Path | None = setting(None, takes.path(), "certificate (PEM) to present to the relay")
    tls_key_file: Path | None = setting(None, takes.path(), "the certificate's key (PEM)")
    token_file: Path | None = setting(None, takes.path(), "file with the token for the relay")

    def tls_to(self, address: str) -> bool:
        """Whether a link to HOST:PORT is encrypted: always, except within this machine or if `insecure` is set."""
        asked_for = self.tls_ca_file is not None or self.tls_cert_file is not None
        return asked_for or not (self.insecure or is_local(address))

    @property
    def has_credentials(self) -> bool:
        """Whether the settings name credentials for relay and client, or declare that none are needed."""
        return self.insecure or any((self.tls_ca_file, self.tls_cert_file, self.token_file))

    def _check_credentials(self, *, within_machine: bool) -> None:
        """Raise `ConfigError` for contradictory settings; `within_machine`: all relays are on this machine."""
        for name in ("tls_ca_file", "tls_cert_file", "tls_key_file", "token_file"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ConfigError(f"{name}: there is no file {path}")
            if path is not None and name != "token_file" and self.insecure:
                raise ConfigError(f"insecure and {name} contradict each other: leave one of them out")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ConfigError("tls_cert_file and tls_key_file come together")
        if self.token_file is not None and self.insecure and not within_machine:
            raise ConfigError("insecure and token_file contradict each other: tokens are not sent in plaintext")


def is_local(address: str) -> bool:
    """Whether HOST:PORT is on this machine. Raises `ConfigError`."""
    return is_loopback(split_address(address, "relay")[0])
