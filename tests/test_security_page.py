"""docs/security.md, run with real programs against a real relay with TLS and an access file."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.doc_blocks import read_blocks
from tests.page_session import PATIENCE_S, PageSession, read_page

PAGE = "docs/security.md"
TOKENS = ("ann", "clerk", "backend", "lobby", "late")

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageSession]:
    """A session that has run the whole page in an empty folder, with a relay named `localhost`."""
    with read_page(PAGE, tmp_path_factory.mktemp("security"), places={"relay.example": "localhost"}) as reader:
        yield reader


def test_a_revoked_device_has_ended(reader: PageSession) -> None:
    """With status 1, and the reason in its log."""
    _, device = reader.programs
    assert device.wait() == 1
    assert "CREDENTIALS_REVOKED" in device.said()


def test_strict_clients_take_the_certificate(reader: PageSession) -> None:
    """The check that is Python's default since 3.13."""
    context = ssl.create_default_context(cafile=reader.home / "authority.pem")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["h2"])
    host, _, port = reader.address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        assert wrapped.version() == "TLSv1.3"


def test_no_line_holds_a_token(reader: PageSession) -> None:
    """What the page shows can be copied without exposing a token to other users of the machine; only token files contain one."""
    lines = [line for block in read_blocks(PAGE) for line in block.text.splitlines()]
    assert [line for line in lines if "$(cat" in line and not line.startswith("export ")] == []
    secrets = [(reader.home / f"{name}.token").read_text().strip().rpartition("_")[2] for name in TOKENS]
    others = [path for path in reader.home.rglob("*") if path.is_file() and path.suffix != ".token"]
    said = {program.name: program.said() for program in reader.programs}
    said |= {path.name: path.read_text(errors="replace") for path in others}
    assert [name for name, text in said.items() if any(secret in text for secret in secrets)] == []
