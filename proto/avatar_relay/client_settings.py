"""How a client reaches a relay: the settings that `edge-client` and `relayctl` share."""

# ruff: noqa: RUF009 - `setting` makes a dataclass field
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from avatar_relay import setting_types as takes
from avatar_relay.addresses import is_loopback
from avatar_relay.errors import ConfigError
from avatar_relay.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """The shared settings; a program's own class adds its relays."""

    insecure: bool = setting(False, takes.switch(), "speak plaintext to a relay that is not on this machine (else: TLS)")
    tls_ca_file: Path | None = setting(None, takes.path(), "certificates (PEM) that vouch for the relay; speaks TLS on this machine too")
    tls_cert_file: Path | None = setting(None, takes.path(), "certificate (PEM) to show the relay")
    tls_key_file: Path | None = setting(None, takes.path(), "the certificate's key (PEM)")
    token_file: Path | None = setting(None, takes.path(), "file with the token to show the relay")

    def _hosts(self) -> Iterable[str]:
        """The relays' hosts."""
        raise NotImplementedError

    @property
    def tls(self) -> bool:
        """Whether the link is encrypted: always, except within this machine or where `insecure` allows it."""
        asked_for = self.tls_ca_file is not None or self.tls_cert_file is not None
        return asked_for or not (self.insecure or self._is_local)

    @property
    def sends_tokens(self) -> bool:
        """Whether a token may travel: not in plaintext beyond this machine."""
        return self.tls or self._is_local

    def _check_credentials(self) -> None:
        """Raise `ConfigError` for settings that contradict each other."""
        for name in ("tls_ca_file", "tls_cert_file", "tls_key_file", "token_file"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ConfigError(f"{name}: there is no file {path}")
            if path is not None and name != "token_file" and self.insecure:
                raise ConfigError(f"insecure and {name} contradict each other: leave one of them out")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ConfigError("tls_cert_file and tls_key_file come together")
        if self.token_file is not None and not self.sends_tokens:
            raise ConfigError("insecure and token_file contradict each other: a token does not travel in plaintext")

    @property
    def _is_local(self) -> bool:
        """Whether all relays are on this machine."""
        return all(is_loopback(host) for host in self._hosts())
