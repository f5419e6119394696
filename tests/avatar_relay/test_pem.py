"""Each fault of certificates and keys has a text that states the remedy."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from avatar_relay.certificate_dates import DAY_S, Validity, clock_fault, validities
from avatar_relay.pem import PemError, UnreadableError, read_authorities, read_key_pair, read_token
from tests.relay_server.access.guarded import Authority, now_s

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")

SETTINGS = ("cert", "key")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good files, and files with one fault each."""
    folder = tmp_path_factory.mktemp("pem")
    make_pem_files(folder)
    return folder


def make_pem_files(folder: Path) -> None:
    """`good` and `other` are pairs of `authority`; the other files have the fault in their name."""

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
    pair = read_key_pair(SETTINGS, files / "good.pem", files / "good.key", now_s())
    validity = pair.validity
    assert (pair.certificate, pair.key) == ((files / "good.pem").read_bytes(), (files / "good.key").read_bytes())
    assert 0 < validity.not_after_s - now_s() <= 2 * DAY_S
    assert read_authorities("ca", files / "authority.pem", now_s()) == (files / "authority.pem").read_bytes()


def test_what_cannot_be_read_is_no_wrong_file(files: Path) -> None:
    """It may be readable a moment later."""
    for setting, read in (
        ("cert", lambda: read_key_pair(SETTINGS, files / "none", files / "good.key", now_s())),
        ("key", lambda: read_key_pair(SETTINGS, files / "good.pem", files / "none", now_s())),
        ("ca", lambda: read_authorities("ca", files / "none", now_s())),
        ("token", lambda: read_token("token", files / "none")),
    ):
        with pytest.raises(UnreadableError, match=f"^{setting}: .*/none cannot be read: No such file"):
            read()


def test_a_token_file_without_a_token_is_not_quoted(files: Path) -> None:
    """Its content may be a secret nevertheless."""
    (files / "two").write_text("secret words\n")
    with pytest.raises(PemError, match=r"^token: .*/two holds no token") as caught:
        read_token("token", files / "two")
    assert "secret" not in str(caught.value)


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
    """The text names the faulty setting, the file and the remedy."""
    with pytest.raises(PemError, match=text):
        read_key_pair(SETTINGS, files / certificate, files / key, now_s())


@pytest.mark.parametrize(
    ("name", "text"),
    [("empty", "is empty"), ("rubbish", "holds no certificate"), ("good.der", "is DER"), ("damaged.pem", "damaged certificate")],
)
def test_wrong_authorities_are_refused(files: Path, name: str, text: str) -> None:
    """As with pairs."""
    with pytest.raises(PemError, match=f"^ca: .*/{name}.*{text}|^ca: .*/{name} holds a {text}"):
        read_authorities("ca", files / name, now_s())


@pytest.mark.parametrize(
    ("days", "text"), [(3, r"cert: .*/good\.pem has expired on .*clock says"), (-3, r"cert: .*/good\.pem is not valid before .*clock says")]
)
def test_a_certificate_out_of_its_time_is_refused(files: Path, days: int, text: str) -> None:
    """And so are authorities without a valid certificate."""
    then_s = now_s() + days * DAY_S
    with pytest.raises(PemError, match=text):
        read_key_pair(SETTINGS, files / "good.pem", files / "good.key", then_s)
    with pytest.raises(PemError, match=r"ca: .*authority"):
        read_authorities("ca", files / "authority.pem", then_s)


def test_a_clock_that_was_never_set_is_not_the_certificates_fault(files: Path) -> None:
    """A Raspberry Pi without a battery starts in 1970, and sets its clock once it has a network."""
    read_key_pair(SETTINGS, files / "good.pem", files / "good.key", 1_000)
    read_authorities("ca", files / "authority.pem", 1_000)
    assert "clock says 1970-01-01" in clock_fault(1_000)
    assert clock_fault(now_s()) == ""


@pytest.mark.parametrize(("left_days", "stage", "warns"), [(31, 0, False), (29, 1, True), (8, 1, True), (6, 2, True)])
def test_expiry_is_told_in_time(left_days: int, stage: int, warns: bool) -> None:
    """Reported 30 and 7 days before."""
    validity = Validity(0, left_days * DAY_S)
    assert (validity.stage(0), bool(validity.warning(0))) == (stage, warns)


@pytest.mark.parametrize("der", [b"", b"0", b"0\x03\x02\x01\x01", b"0\x80", b"\x30\x82\xff\xff" + bytes(100)])
def test_dates_of_what_is_no_certificate(der: bytes) -> None:
    """Damaged files are refused, whatever the damage."""
    with pytest.raises(ValueError):
        validities(ssl.DER_cert_to_PEM_cert(der).encode())
