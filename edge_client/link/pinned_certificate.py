"""The certificate that a relay presents, to be pinned by the device."""

from __future__ import annotations

import hashlib
import socket
import ssl
from dataclasses import dataclass

from avatar_relay.addresses import split_address
from avatar_relay.certificate_dates import first_certificate

CONNECT_S = 5.0


class PinError(Exception):
    """No usable certificate is available; the text gives the reason."""


@dataclass(frozen=True, slots=True)
class PinnedCertificate:
    """A certificate, and a name in it for gRPC's name check."""

    pem: bytes
    name: str

    @property
    def sha256(self) -> bytes:
        """SHA-256 of the certificate itself (DER)."""
        return hashlib.sha256(first_certificate(self.pem)).digest()


def fetch_certificate(address: str) -> PinnedCertificate:
    """Fetch the certificate presented at HOST:PORT. Blocks for some seconds at most. Raises `PinError`.

    It is not verified yet: a man in the middle presents another one, and the pairing exchange detects that.
    """
    place = split_address(address, "relay")
    try:
        pem = ssl.get_server_certificate(place, timeout=CONNECT_S)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=pem)
        with socket.create_connection(place, timeout=CONNECT_S) as plain, context.wrap_socket(plain) as encrypted:
            found = encrypted.getpeercert() or {}
    except (OSError, ValueError) as error:
        reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else str(error)
        raise PinError(f"the certificate of {address} cannot be used: {reason}") from error
    name = _name_in(found)
    if not name:
        raise PinError(f"the certificate of {address} has no name")
    return PinnedCertificate(pem.encode("ascii"), name)


def _name_in(found: object) -> str:
    """The first name in the result of `getpeercert`: a DNS name or an address, else the common name."""
    read = found if isinstance(found, dict) else {}
    names = [str(name) for kind, name in read.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    names += [str(value) for part in read.get("subject", ()) for key, value in part if key == "commonName"]
    return names[0].replace("*", "relay") if names else ""
