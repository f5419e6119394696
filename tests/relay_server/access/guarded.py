"""An access file with identities, certificates of a test authority, and a relay that uses them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
from google.rpc import status_pb2

from avatar_relay import wire
from avatar_relay.credentials import metadata_of
from avatar_relay.reasons import Reason
from relay_server.access import issuing
from relay_server.access.identities import Identity
from relay_server.access.scopes import Role
from relay_server.access.store import AccessFile
from relay_server.access.tokens import make_token
from relay_server.config import RelayConfig
from relay_server.server import RelayServer, build_relay, serving
from tests.relay_server.service.wired import FakeSpeech, Wired, wired

PATIENCE_S = 10.0


def now_s() -> int:
    """The wall clock, in seconds since the Unix epoch."""
    return int(time.time())


class Access:
    """An access file and its identities."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "access.json"
        self.file = AccessFile(self.path)
        with self.file.changing():
            pass

    def add(self, role: Role, name: str, *, life_s: int = 0, certificate: str = "", **more: Any) -> str:
        """Add an identity; return its token, empty if it uses a certificate."""
        now_s = int(time.time())
        token, record = make_token(os.urandom, now_s, now_s + life_s if life_s else 0)
        identity = Identity(role=role, name=name, certificate=certificate, tokens=() if certificate else (record,), **more)
        with self.file.changing() as cell:
            cell[0] = issuing.create(cell[0], identity)
        return "" if certificate else token

    def rotate(self, role: Role, name: str) -> str:
        """Return a new token; the old one is invalid at once."""
        token, record = make_token(os.urandom, int(time.time()))
        with self.file.changing() as cell:
            cell[0] = issuing.rotate(cell[0], f"{role} {name}", record, int(time.time()), 0)
        return token

    def revoke(self, role: Role, name: str) -> None:
        """Revoke an identity."""
        with self.file.changing() as cell:
            cell[0] = issuing.revoke(cell[0], f"{role} {name}")

    def change(self, role: Role, name: str, **changes: Any) -> None:
        """Change an identity's rights."""
        with self.file.changing() as cell:
            known = cell[0].identities[f"{role} {name}"]
            cell[0] = issuing.create(issuing.revoke(cell[0], known.key), replace(known, **changes))


class Authority:
    """Issues certificates, valid for two days."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        subject = ["-subj", f"/CN={name}", "-keyout", str(self._key), "-out", str(self.certificate)]
        _openssl("req", "-x509", "-days", "2", *_NEW_KEY, "-addext", "keyUsage=critical,keyCertSign,cRLSign", *subject)

    def issue(self, name: str, file: str = "") -> tuple[Path, Path]:
        """Issue certificate and key for a name, overwriting the files."""
        stem = self._folder / (file or name)
        request, certificate, key = (stem.with_suffix(suffix) for suffix in (".csr", ".pem", ".key"))
        _openssl(
            "req", *_NEW_KEY, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out", str(request)
        )
        signed = ["-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial", "-days", "2", "-copy_extensions", "copy"]
        extensions = stem.with_suffix(".ext")
        extensions.write_text("authorityKeyIdentifier = keyid\nbasicConstraints = critical,CA:FALSE\n", encoding="ascii")
        _openssl("x509", "-req", "-in", str(request), *signed, "-extfile", str(extensions), "-out", str(certificate))
        return certificate, key


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@asynccontextmanager
async def guarded(access: Access, **settings: Any) -> AsyncIterator[Wired]:
    """A relay in plaintext that admits the identities in the access file."""
    async with wired(RelayConfig(listen="127.0.0.1:0", access_file=access.path, **settings)) as running:
        yield running


@asynccontextmanager
async def over_tls(authority: Authority, access: Access | None, *, mutual: bool = False, **settings: Any) -> AsyncIterator[RelayServer]:
    """A relay with a certificate for `localhost`."""
    certificate, key = authority.issue("localhost", "relay")
    config = RelayConfig(
        listen="localhost:0",
        access_file=None if access is None else access.path,
        tls_cert_file=certificate,
        tls_key_file=key,
        tls_client_ca_file=authority.certificate if mutual else None,
        **settings,
    )
    async with serving(build_relay(config), FakeSpeech()) as (server, _):
        yield server


def trusting(authority: Authority, shown: tuple[Path, Path] | None = None) -> grpc.ChannelCredentials:
    """A client's credentials: the authority it trusts, and what it presents."""
    certificate, key = (None, None) if shown is None else (path.read_bytes() for path in shown)
    return grpc.ssl_channel_credentials(authority.certificate.read_bytes(), key, certificate)


async def code_of(
    channel: grpc.aio.Channel, method: str, token: str | None = None, *, sent: bytes = b"", wait_s: float = PATIENCE_S
) -> tuple[grpc.StatusCode, Reason | None]:
    """Return how an RPC of any kind ends after one message; one that still runs after `wait_s` is OK.

    The message leaves with the start of the call: grpc.aio loses the status of a call that ends before a `write` of its own.
    """
    begin: Any = channel.unary_stream(method)
    return await _end_of(begin(sent, metadata=metadata_of(token)), wait_s)


async def code_of_messages(channel: grpc.aio.Channel, method: str, sent: Sequence[bytes]) -> tuple[grpc.StatusCode, Reason | None]:
    """Return how an RPC ends whose caller sends these messages, of which it reads any number."""
    call: Any = channel.stream_stream(method)()
    with contextlib.suppress(grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
        for message in sent:
            await call.write(message)
        await call.done_writing()
    return await _end_of(call, PATIENCE_S)


async def _end_of(call: Any, wait_s: float) -> tuple[grpc.StatusCode, Reason | None]:
    try:
        async with asyncio.timeout(wait_s):
            try:
                while await call.read() is not grpc.aio.EOF:
                    pass
            except (grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
                pass
            code, trailing = await call.code(), await call.trailing_metadata()
    except TimeoutError:
        call.cancel()
        return grpc.StatusCode.OK, None
    details = dict(trailing or ()).get("grpc-status-details-bin")
    return code, None if details is None else wire.fault_from_status(status_pb2.Status.FromString(details)).reason
