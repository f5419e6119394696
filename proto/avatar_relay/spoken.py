"""Detects what listens at an address: TLS, plaintext, or nothing. A probe from outside; it proves nothing."""

from __future__ import annotations

import socket
import ssl
from typing import Literal

from avatar_relay.addresses import split_address

PROBE_S = 2.0


def speaks(address: str) -> Literal["tls", "plaintext", ""]:
    """What listens at HOST:PORT; empty: nothing that answers within `PROBE_S`. Blocks for at most twice that. No certificate is checked."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with socket.create_connection(split_address(address, "relay"), timeout=PROBE_S) as plain:
            try:
                context.wrap_socket(plain).close()
            except TimeoutError:
                return ""
            except ssl.SSLError as error:
                return "tls" if "CERTIFICATE" in (error.reason or "") else "plaintext"  # it requires a client certificate
            except OSError:
                return "plaintext"  # a plaintext HTTP/2 server closes the connection on an invalid preface
    except OSError:
        return ""
    return "tls"
