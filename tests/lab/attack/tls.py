"""Attacks on a relay's TLS by a caller without credentials, and a certificate for their victims."""

from __future__ import annotations

import os
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.lab.attack.strangers import Attack, bytes_only, churn, endless_headers, idle, on_connections

HANDSHAKE, TLS_1_0, LARGEST = 22, b"\3\1", 1 << 14
"""A record's type, its version, and the bytes it may hold."""
ANYBODY = ssl.create_default_context()
ANYBODY.check_hostname, ANYBODY.verify_mode = False, ssl.CERT_NONE
ANYBODY.set_alpn_protocols(["h2"])


def hello() -> bytes:
    """The record of a client's first message."""
    sent = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ANYBODY.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="relay").do_handshake()
    return sent.read()


def endless_hello(address: str, seconds: float) -> str:
    """A first message of 16 MB, in records that never end."""
    part = bytes((HANDSHAKE,)) + TLS_1_0 + LARGEST.to_bytes(2, "big") + b"\1\xff\xff\xff" + bytes(LARGEST - 4)
    return on_connections(address, seconds, lambda client: client.send(part), preface=False) + " of 16 KiB"


def handshakes(preface: bool, count: int, address: str, seconds: float) -> str:
    """Whole handshakes in `count` threads; each connection is closed after it."""
    with ThreadPoolExecutor(count) as pool:
        done = [pool.submit(churn, address, seconds, preface=preface, tls=ANYBODY) for _ in range(count)]
    return f"{sum(int(one.result().split()[-2]) for one in done)} connections"


TLS_ATTACKS: dict[str, Attack] = {
    "TLS handshakes": partial(handshakes, False, 32),
    "TLS handshakes, then HTTP/2": partial(handshakes, True, 32),
    "TLS handshakes without end": partial(idle, hello(), 2_000),
    "TLS hellos of 16 MB": endless_hello,
    "TLS hellos, then rubbish": partial(bytes_only, hello() + os.urandom(4_096)),
    "TLS, headers of 15 MB without end": partial(endless_headers, 15 << 20, 60, tls=ANYBODY),
}


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1, which is its own authority, and its key."""
    certificate, key = folder / "tls.pem", folder / "tls.key"
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90", "-subj", "/CN=relay"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *new, *names], check=True, capture_output=True)
    return certificate, key
