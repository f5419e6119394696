"""Each way in which certificates and keys are wrong has a text that says what to do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from avatar_relay.pem import PemError, check_authorities, check_key_pair
from tests.relay_server.access.guarded import Authority

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")

SETTINGS = ("cert", "key")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good files, and files that are wrong in one way each."""
    folder = tmp_path_factory.mktemp("pem")
    make_pem_files(folder)
    return folder


def make_pem_files(folder: Path) -> None:
    """`good` and `other` are pairs of `authority`; the rest is wrong as its name says."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    authority = Authority(folder)
    authority.issue("good")
    authority.issue("other")
    openssl("x509", "-in", "good.pem", "-outform", "der", "-out", "good.der")
    openssl("pkey", "-in", "good.key", "-outform", "der", "-out", "good.key.der")
    openssl("pkey", "-in", "good.key", "-aes128", "-passout", "pass:x", "-out", "encrypted.key")
    openssl("ec", "-in", "good.key", "-aes128", "-passout", "pass:x", "-out", "encrypted-old.key")
    openssl("req", "-x509", "-newkey", "rsa:512", "-nodes", "-subj", "/CN=weak", "-keyout", "weak.key", "-out", "weak.pem")
    lines = (folder / "good.pem").read_text().splitlines(keepends=True)
    (folder / "damaged.pem").write_text("".join(lines[:2] + lines[3:]))
    (folder / "rubbish").write_text("= rubbish")
    (folder / "empty").write_text("\n")


def test_good_files_pass(files: Path) -> None:
    """A certificate with its key, and an authority."""
    check_key_pair(SETTINGS, files / "good.pem", files / "good.key")
    check_authorities("ca", files / "authority.pem")


@pytest.mark.parametrize(
    ("certificate", "key", "text"),
    [
        ("empty", "good.key", "cert: .*/empty is empty"),
        ("rubbish", "good.key", "cert: .*/rubbish holds no certificate in PEM"),
        ("good.key", "good.key", r"cert: .*/good\.key holds no certificate in PEM"),
        ("good.der", "good.key", r"cert: .*/good\.der is DER; .*openssl x509 -inform der -in .*/good\.der"),
        ("damaged.pem", "good.key", r"cert: .*/damaged\.pem .*is damaged"),
        ("weak.pem", "weak.key", r"cert: .*/weak\.pem .*too small"),
        ("good.pem", "empty", "key: .*/empty is empty"),
        ("good.pem", "rubbish", "key: .*/rubbish holds no private key in PEM"),
        ("good.pem", "good.pem", r"key: .*/good\.pem holds no private key"),
        ("good.pem", "good.key.der", r"key: .*/good\.key\.der is DER; .*openssl pkey -inform der"),
        ("good.pem", "encrypted.key", r"key: .*/encrypted\.key is encrypted.*openssl pkey -in"),
        ("good.pem", "encrypted-old.key", r"key: .*/encrypted-old\.key is encrypted"),
        ("good.pem", "other.key", r"key: .*/other\.key does not belong to .*/good\.pem"),
    ],
)
def test_a_wrong_pair_is_refused(files: Path, certificate: str, key: str, text: str) -> None:
    """The text names the setting at fault, the file, and what to do."""
    with pytest.raises(PemError, match=text):
        check_key_pair(SETTINGS, files / certificate, files / key)


@pytest.mark.parametrize(
    ("name", "text"),
    [("empty", "is empty"), ("rubbish", "holds no certificate"), ("good.der", "is DER"), ("damaged.pem", "damaged certificate")],
)
def test_wrong_authorities_are_refused(files: Path, name: str, text: str) -> None:
    """As with pairs."""
    with pytest.raises(PemError, match=f"^ca: .*/{name}.*{text}|^ca: .*/{name} holds a {text}"):
        check_authorities("ca", files / name)
