"""Certificates, keys and tokens in files, checked before gRPC reads them: gRPC reports wrong ones only as a failed connection.

Each error is a `ConfigError` that names the setting, the file, and the remedy.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from avatar_relay.certificate_dates import Validity, clock_fault, validities
from avatar_relay.credentials import clean_token
from avatar_relay.errors import ConfigError

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"
_DER = 0x30
"""The first byte of a certificate or key in DER: an ASN.1 sequence."""


class PemError(ConfigError):
    """A file has invalid content."""


class UnreadableError(ConfigError):
    """A file cannot be read, at least for the moment; its content is unknown."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, in PEM, and the certificate's validity."""

    certificate: bytes
    key: bytes = field(repr=False)
    validity: Validity


def read_token(setting: str, path: Path) -> str:
    """The token in a file. Raises `PemError`, which never quotes it, and `UnreadableError`."""
    try:
        return clean_token(_read(setting, path).decode(errors="replace"))
    except ValueError as error:
        raise PemError(f"{setting}: {path} {error}") from None


def read_authorities(setting: str, path: Path, now_s: int) -> bytes:
    """The certificates in `path`, of which one must be valid at `now_s` (Unix time). Raises `PemError`, `UnreadableError`."""
    data = _read_pem(setting, path, _CERTIFICATE, "certificate", "x509")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise PemError(f"{setting}: {path} holds a damaged certificate ({_reason(error)})") from error
    except OSError as error:
        raise unreadable(setting, path, error) from error
    faults = [found.fault(now_s) for found in _validities(setting, path, data)]
    if all(faults) and not clock_fault(now_s):  # the system's bundle has many, of which some have expired
        raise PemError(f"{setting}: {path} {faults[0]}; get a new one")
    return data


def read_key_pair(settings: tuple[str, str], certificate: Path, key: Path, now_s: int) -> KeyPair:
    """Read a certificate and its key, which must match and be valid at `now_s` (Unix time); `settings` names their settings.

    A certificate that is not valid yet passes while the clock is obviously wrong: the clock will be set. Raises `PemError`,
    `UnreadableError`.
    """
    pair = (
        _read_pem(settings[0], certificate, _CERTIFICATE, "certificate", "x509"),
        _read_pem(settings[1], key, _KEY, "private key", "pkey"),
    )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        _refuse(settings, certificate, key, pair[1], error)
    except OSError as error:
        raise unreadable(settings[0], certificate, error) from error
    validity = _validities(settings[0], certificate, pair[0])[0]
    if (fault := validity.fault(now_s)) and not clock_fault(now_s):
        raise PemError(f"{settings[0]}: {certificate} {fault}; get a new one, or set the clock")
    return KeyPair(*pair, validity)


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(setting, path, error) from error


def unreadable(setting: str, path: Path, error: OSError) -> UnreadableError:
    """The error for a file that cannot be read."""
    return UnreadableError(f"{setting}: {path} cannot be read: {error.strerror}")


def _validities(setting: str, path: Path, data: bytes) -> list[Validity]:
    try:
        return validities(data)
    except ValueError as error:
        raise PemError(f"{setting}: {path} holds a damaged certificate (it {error})") from error


def _read_pem(setting: str, path: Path, mark: bytes, what: str, tool: str) -> bytes:
    data = _read(setting, path)
    if not data.strip():
        raise PemError(f"{setting}: {path} is empty; it takes a {what} in PEM")
    if mark in data:
        return data
    if data[0] == _DER:
        raise PemError(f"{setting}: {path} is DER; convert it to PEM: openssl {tool} -inform der -in {path} -out FILE")
    raise PemError(f"{setting}: {path} holds no {what} in PEM")


def _refuse(settings: tuple[str, str], certificate: Path, key: Path, key_data: bytes, error: ssl.SSLError) -> NoReturn:
    if _is_encrypted(key_data):
        text = f"{settings[1]}: {key} is encrypted; decrypt it: openssl pkey -in {key} -out FILE"
    elif error.reason == "KEY_VALUES_MISMATCH":
        text = f"{settings[1]}: {key} does not belong to {certificate}"
    elif error.reason in _WEAK:
        text = f"{settings[0]}: {certificate} is refused: {_WEAK[error.reason]}"
    else:
        text = f"{settings[0]}: {certificate} or its key {key} is damaged ({_reason(error)})"
    raise PemError(text) from error


_WEAK: Mapping[str, str] = {
    "EE_KEY_TOO_SMALL": "its key is too small; use 2048 bits of RSA, or an elliptic curve of 256",
    "CA_KEY_TOO_SMALL": "its authority's key is too small; use 2048 bits of RSA, or an elliptic curve of 256",
    "CA_MD_TOO_WEAK": "its signature is too weak; use SHA-256",
}


def _is_encrypted(key: bytes) -> bool:
    return b"BEGIN ENCRYPTED PRIVATE KEY" in key or b"Proc-Type: 4,ENCRYPTED" in key


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "unreadable").lower().replace("_", " ")


def _no_password() -> str:
    """A program that starts by itself cannot ask for a password."""
    raise ssl.SSLError(0, "the key is encrypted")
