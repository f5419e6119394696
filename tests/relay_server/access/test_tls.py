"""TLS: plaintext and older protocols are refused, certificates are verified, and can be replaced under running streams."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode as Code

from avatar_relay.client_settings import ClientSettings
from avatar_relay.credentials import metadata_of
from avatar_relay.errors import ConfigError
from avatar_relay.media import Codec, Credit
from avatar_relay.messages import Hello, Welcome
from avatar_relay.publisher import ConnectionLostError, Publisher
from avatar_relay.reasons import Reason
from avatar_relay.v1 import device_service_pb2 as pb
from avatar_relay.v1 import device_service_pb2_grpc as device_grpc
from edge_client.link.attach_call import AttachCall, Endpoint
from edge_client.link.credentials import CredentialFiles
from edge_client.link.retry import RetryDecision, StreamEnd
from relay_server.access.scopes import Role
from relay_server.access.tls import HotCertificate, TlsFiles
from tests.avatar_relay.test_pem import make_pem_files
from tests.lab.data import PROJECT_ROOT
from tests.relay_server.access.guarded import Access, Authority, code_of, now_s, over_tls, trusting
from tests.relay_server.service.wired import Stream, hello

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")

LIST = "/avatar_relay.v1.AdminService/ListDevices"
SAID = Hello("lobby", 1, "", (Codec.PCM_S16LE,), 48_000, (), Credit(1 << 20, 1 << 20))


async def attached(endpoint: Endpoint) -> Welcome | StreamEnd:
    """Return the relay's answer to an edge client's hello."""
    async with AttachCall(endpoint) as call:
        await call.write(SAID)
        answer = await asyncio.wait_for(call.read(), 5)
        assert isinstance(answer, Welcome | StreamEnd)
        return answer


async def test_plaintext_is_refused(tmp_path: Path) -> None:
    """With a certificate configured, nothing is served in plaintext, not even health."""
    authority, access = Authority(tmp_path), Access(tmp_path)
    token = access.add(Role.OPERATOR, "ann", devices=("*",))
    async with over_tls(authority, access) as server:
        async with grpc.aio.insecure_channel(server.addresses[0]) as channel:
            assert (await code_of(channel, LIST, token))[0] is Code.UNAVAILABLE
            assert (await code_of(channel, "/grpc.health.v1.Health/Check"))[0] is Code.UNAVAILABLE
        async with grpc.aio.secure_channel(server.addresses[0], trusting(authority)) as channel:
            assert (await code_of(channel, LIST, token))[0] is Code.OK
            assert (await code_of(channel, LIST))[0] is Code.UNAUTHENTICATED


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_older_protocols_are_refused(tmp_path: Path, highest: ssl.TLSVersion) -> None:
    """A client or a man in the middle that offers less than TLS 1.2 gets no handshake; 1.2 is the minimum."""
    authority = Authority(tmp_path)
    async with over_tls(authority, Access(tmp_path)) as server:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await asyncio.to_thread(handshake, server.addresses[0], authority, highest)
        assert await asyncio.to_thread(handshake, server.addresses[0], authority, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"


def handshake(address: str, authority: Authority, highest: ssl.TLSVersion) -> str | None:
    """Return the protocol negotiated with a client that supports nothing above `highest`."""
    context = ssl.create_default_context(cafile=authority.certificate)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default since Python 3.13
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning) if highest < ssl.TLSVersion.TLSv1_2 else contextlib.nullcontext():
        context.maximum_version = highest
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as plain, context.wrap_socket(plain, server_hostname=host) as wrapped:
        return wrapped.version()


async def test_another_authority_is_not_believed(tmp_path: Path) -> None:
    """Holds for both sides."""
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    async with over_tls(authority, Access(tmp_path), mutual=True) as server:
        for credentials in (
            trusting(authority),
            trusting(authority, stranger.issue("lobby")),
            trusting(stranger, authority.issue("lobby")),
        ):
            async with grpc.aio.secure_channel(server.addresses[0], credentials) as channel:
                assert (await code_of(channel, LIST))[0] is Code.UNAVAILABLE


async def test_a_device_by_the_name_in_its_certificate(tmp_path: Path) -> None:
    """The edge client: admitted with its own certificate, not under another name, not if unregistered, and removed when revoked."""
    authority, access = Authority(tmp_path), Access(tmp_path)
    access.add(Role.DEVICE, "lobby", certificate="lobby.example")
    access.add(Role.DEVICE, "till", certificate="till.example")
    async with over_tls(authority, access, mutual=True) as server:

        def endpoint(name: str) -> Endpoint:
            certificate, key = authority.issue(name)
            settings = ClientSettings(tls_ca_file=authority.certificate, tls_cert_file=certificate, tls_key_file=key)
            return Endpoint(server.addresses[0], True, CredentialFiles(settings, now_s))

        assert isinstance(await attached(endpoint("lobby.example")), Welcome)
        for name, code in (("till.example", "PERMISSION_DENIED"), ("nobody.example", "UNAUTHENTICATED")):
            end = await attached(endpoint(name))
            assert isinstance(end, StreamEnd)
            assert (end.code, end.verdict) == (code, RetryDecision.FINAL)
        access.revoke(Role.DEVICE, "lobby")
        assert server.guard is not None
        await server.guard.look_after()
        end = await attached(endpoint("lobby.example"))
        assert isinstance(end, StreamEnd)
        assert "were revoked" in end.text


async def test_who_has_both_shows_both(tmp_path: Path) -> None:
    """A stolen token is worthless without the matching certificate."""
    authority, access = Authority(tmp_path), Access(tmp_path)
    access.add(Role.OPERATOR, "ann", devices=("*",), certificate="ann.example")
    token = access.rotate(Role.OPERATOR, "ann")
    async with over_tls(authority, access, mutual=True) as server:
        for name, shown, code in (
            ("ann.example", token, Code.OK),
            ("ann.example", None, Code.UNAUTHENTICATED),
            ("thief.example", token, Code.UNAUTHENTICATED),
        ):
            async with grpc.aio.secure_channel(server.addresses[0], trusting(authority, authority.issue(name))) as channel:
                assert (await code_of(channel, LIST, shown))[0] is code


async def test_certificates_change_under_running_streams(tmp_path: Path) -> None:
    """Running streams continue; new connections get the new certificate; a pair that does not match changes nothing."""
    authority, access = Authority(tmp_path), Access(tmp_path)
    token = access.add(Role.DEVICE, "lobby")
    async with over_tls(authority, access) as server, grpc.aio.secure_channel(server.addresses[0], trusting(authority)) as channel:
        stream = Stream(device_grpc.DeviceServiceStub(channel).Attach(metadata=metadata_of(token)), pb.AttachRequest)
        await stream.say(hello=hello())
        await stream.hear("welcome")
        before = await asyncio.to_thread(certificate_of, server.addresses[0])
        certificate, key = authority.issue("localhost", "relay")
        after = await asyncio.to_thread(certificate_of, server.addresses[0])
        assert after != before
        assert after == ssl.PEM_cert_to_DER_cert(certificate.read_text())
        key.write_bytes(authority.issue("localhost", "other")[1].read_bytes())
        assert await asyncio.to_thread(certificate_of, server.addresses[0]) == after
        await stream.say(ping={"id": 7})
        assert (await stream.hear("pong")).id == 7


def certificate_of(address: str) -> bytes | None:
    """Return the certificate presented to a new connection."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as plain, context.wrap_socket(plain, server_hostname=host) as wrapped:
        return wrapped.getpeercert(binary_form=True)


async def test_a_device_goes_on_with_a_rotated_token(tmp_path: Path) -> None:
    """Its token file is read for each stream; a momentarily empty file is ignored."""
    authority, access = Authority(tmp_path), Access(tmp_path)
    file = tmp_path / "token"
    file.write_text(access.add(Role.DEVICE, "lobby") + "\n")
    async with over_tls(authority, access) as server:
        settings = ClientSettings(tls_ca_file=authority.certificate, token_file=file)
        endpoint = Endpoint(server.addresses[0], True, CredentialFiles(settings, now_s))
        assert isinstance(await attached(endpoint), Welcome)
        renewed = access.rotate(Role.DEVICE, "lobby")
        assert server.guard is not None
        await server.guard.look_after()
        assert isinstance(await attached(endpoint), StreamEnd)
        file.write_text("")
        assert isinstance(await attached(endpoint), StreamEnd)
        file.write_text(renewed)
        assert isinstance(await attached(endpoint), Welcome)


async def test_the_publisher_library_shows_its_token(tmp_path: Path) -> None:
    """From a file or as text; without a token, or with a wrong one, it fails at once and does not retry."""
    authority, access = Authority(tmp_path), Access(tmp_path)
    file = tmp_path / "token"
    file.write_text(access.add(Role.PUBLISHER, "backend", devices=("*",)))
    async with over_tls(authority, access) as server:
        credentials = trusting(authority)
        for token in (file, file.read_text()):
            async with Publisher.connect(server.addresses[0], credentials=credentials, token=token):
                pass
        for wrong, text in ((None, "CREDENTIALS_MISSING"), ("avr_x", "CREDENTIALS_INVALID"), (tmp_path / "none", "cannot be read")):
            with pytest.raises(ConnectionLostError, match=text) as caught:
                async with Publisher.connect(server.addresses[0], credentials=credentials, token=wrong):
                    pass
            assert caught.value.final
    with pytest.raises(ConnectionLostError, match="not sent in plaintext"):
        async with Publisher.connect("relay.example:52000", token=file):
            pass


@pytest.mark.parametrize(
    ("spoil", "setting"), [("certificate", "tls_cert_file"), ("key", "tls_key_file"), ("client_ca", "tls_client_ca_file")]
)
def test_files_that_are_no_certificate_are_refused(tmp_path: Path, spoil: str, setting: str) -> None:
    """Refused at start; the error names the setting."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("localhost")
    files: dict[str, Any] = {"certificate": certificate, "key": key, "client_ca": authority.certificate}
    files[spoil].write_text("-----BEGIN NOTHING-----\n")
    with pytest.raises(ConfigError, match=setting):
        HotCertificate(TlsFiles(**files), now_s)


async def test_relayctl_in_plaintext_is_told_that_the_relay_speaks_tls(tmp_path: Path) -> None:
    """It used to report that no relay answers."""
    authority = Authority(tmp_path)
    async with over_tls(authority, Access(tmp_path)) as server:
        port = server.addresses[0].rpartition(":")[2]
        command = [sys.executable, "-m", "relay_server.relayctl.cli", "--relay", f"localhost:{port}", "devices"]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, cwd=PROJECT_ROOT)
        async with asyncio.timeout(30):
            _, said = await process.communicate()
    assert f"localhost:{port} uses TLS, and this was plaintext: pass --tls-ca-file" in said.decode()


async def test_callers_by_certificate_are_not_locked_out_by_their_neighbours(tmp_path: Path) -> None:
    """Neighbours at the same address present unknown certificates; callers with a known one are not affected."""
    authority = Authority(tmp_path)
    access = Access(tmp_path)
    access.add(Role.OPERATOR, "ann", devices=("*",), certificate="ann.example")
    async with over_tls(authority, access, mutual=True) as server:
        for name, tries, expected in (("eve.example", 30, Reason.LIMIT_REACHED), ("ann.example", 1, None)):
            shown = trusting(authority, authority.issue(name))
            async with grpc.aio.secure_channel(server.addresses[0], shown) as channel:
                for _ in range(tries):
                    _, reason = await code_of(channel, LIST)
                assert reason is expected


async def test_an_expired_certificate_on_rotation_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The good certificate stays; one that expires soon is reported, too."""
    authority = Authority(tmp_path)
    files = TlsFiles(*authority.issue("localhost", "relay"))
    clock = now_s()
    hot = HotCertificate(files, lambda: clock)
    hot.warn()
    hot.warn()
    assert [record.message for record in caplog.records if "expires in" in record.message] == [
        f"tls_cert_file: {hot._files.certificate}: {hot._validity.warning(clock)}"
    ]
    authority.issue("localhost", "relay")
    clock += 3 * 86_400
    assert [hot._latest() for _ in range(3)] == [None] * 3
    assert len([record for record in caplog.records if "has expired on" in record.message]) == 1
    hot.warn()
    assert len([record for record in caplog.records if "has expired on" in record.message]) == 2
    assert hot.expires_in_s < 0


ROTATED = {
    "no PEM": ("tls_cert_file", "rubbish", "holds no certificate in PEM"),
    "empty": ("tls_cert_file", "empty", "is empty"),
    "DER": ("tls_cert_file", "good.der", "convert it to PEM"),
    "damaged": ("tls_cert_file", "damaged.pem", "damaged"),
    "weak": ("tls_cert_file", "weak.pem", "too small"),
    "another's key": ("tls_key_file", "other.key", "does not belong to"),
    "an encrypted key": ("tls_key_file", "encrypted.key", "is encrypted"),
    "no authority": ("ca", "rubbish", "holds no certificate in PEM"),
}


@pytest.fixture(scope="module")
def pem_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `make_pem_files`."""
    folder = tmp_path_factory.mktemp("pem")
    make_pem_files(folder)
    return folder


@pytest.mark.parametrize("name", ROTATED)
def test_wrong_files_on_rotation_are_told_in_one_line(name: str, pem_files: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By both programs; the last good ones stay until there are right ones."""
    setting, wrong, text = ROTATED[name]
    good = {"tls_cert_file": "good.pem", "tls_key_file": "good.key", "ca": "authority.pem"}
    files = {kind: tmp_path / kind for kind in good}
    for kind, file in good.items():
        shutil.copy(pem_files / file, files[kind])
    hot = HotCertificate(TlsFiles(*files.values()), now_s)
    certificate, key, authority = files.values()
    device = CredentialFiles(ClientSettings(tls_cert_file=certificate, tls_key_file=key, tls_ca_file=authority), now_s)
    before = device()
    caplog.clear()  # it expires in two days
    shutil.copy(pem_files / wrong, files[setting])
    assert [hot._latest() for _ in range(3)] == [None] * 3
    assert [device() for _ in range(3)] == [before] * 3
    assert len(caplog.records) == 2
    assert all(text in record.message and "\n" not in record.message and "None" not in record.message for record in caplog.records)
    shutil.copy(pem_files / good[setting], files[setting])
    assert hot._latest() is not None
    assert device() == before


def test_a_device_without_memory_keeps_its_credentials(
    pem_files: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading them must not end the thread of its link."""
    device = CredentialFiles(ClientSettings(tls_ca_file=pem_files / "authority.pem"), now_s)
    before = device()
    monkeypatch.setattr(Path, "read_bytes", raising(MemoryError()))
    assert [device(), device()] == [before] * 2
    assert len(caplog.records) == 1


def raising(error: BaseException) -> Callable[..., bytes]:
    """A function that raises `error`."""

    def call(*_: object) -> bytes:
        raise error

    return call
