"""The access file: parsed strictly, written atomically, and the commands of `relayctl` on it."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.errors import ConfigError
from relay_server.access.file_format import from_text, to_text
from relay_server.access.identities import Directory, Identity
from relay_server.access.scopes import RPCS, Role
from relay_server.access.store import AccessFile
from relay_server.access.tokens import TokenRecord, split_token
from relay_server.relayctl import cli as relayctl

IDS = st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True)
TOKENS = st.builds(
    TokenRecord,
    token_id=st.binary(min_size=8, max_size=8).map(bytes.hex),
    salt=st.binary(min_size=16, max_size=16),
    digest=st.binary(min_size=32, max_size=32),
    created_unix_s=st.integers(0, 1 << 40),
    expires_unix_s=st.integers(0, 1 << 40),
)


@st.composite
def identities(draw: st.DrawFn) -> Identity:
    """Any possible identity."""
    role = draw(st.sampled_from(Role))
    return Identity(
        role=role,
        name=draw(IDS),
        devices=() if role is Role.DEVICE else tuple(draw(st.lists(IDS | st.just("*") | IDS.map(lambda name: name + "*"), max_size=3))),
        rpcs=frozenset(draw(st.sets(st.sampled_from(sorted(RPCS[role]))))),
        certificate=draw(st.text(max_size=10)),
        tokens=tuple(draw(st.lists(TOKENS, max_size=3))),
        revoked=draw(st.booleans()),
        trusted_sampling=draw(st.booleans()),
        streams=draw(st.integers(0, 100)),
        calls_per_minute=draw(st.integers(0, 100)),
    )


@given(st.lists(identities(), max_size=4))
def test_what_is_written_is_read(listed: list[Identity]) -> None:
    """Everything is read back, unless two identities share a name, token or certificate, which is refused."""
    try:
        directory = Directory(listed)
    except ConfigError:
        return
    assert from_text(to_text(directory)).identities == directory.identities


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_any_other_json_is_refused(content: object) -> None:
    """Any other JSON raises our own error."""
    with pytest.raises(ConfigError):
        from_text(json.dumps(content))


GOOD: dict[str, Any] = {"role": "device", "name": "lobby", "tokens": [{"id": "00" * 8, "salt": "00" * 16, "hmac_sha256": "00" * 32}]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"revokd": True}, "revokd"),
        ({"role": "king"}, "role must be one of"),
        ({"name": "a b"}, "a name is"),
        ({"name": None}, "name must be text"),
        ({"devices": ["lobby"]}, "leave its devices out"),
        ({"rpcs": ["Drain"]}, "'Drain' is no RPC for the role device"),
        ({"revoked": "no"}, "must be true or false"),
        ({"streams": -1}, "must be a whole number"),
        ({"tokens": [{"id": "0"}]}, "must be 16 hexadecimal digits"),
        ({"tokens": GOOD["tokens"] * 2}, "one of its token ids"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    """The error names the file and the place in it."""
    path = tmp_path / "access.json"
    path.write_text(json.dumps({"version": 1, "identities": [GOOD | change]}))
    with pytest.raises(ConfigError, match=re.escape(str(path))) as caught:
        AccessFile(path).load()
    assert said in str(caught.value)


def test_a_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    """Anyone who can write the file could grant themselves access."""
    path = tmp_path / "access.json"
    path.write_text(to_text(Directory()))
    path.chmod(0o646)
    with pytest.raises(ConfigError, match="chmod"):
        AccessFile(path).load()


def create(path: Path, number: int) -> None:
    """Add one identity."""
    relayctl.main(["device", "create", f"d{number}", "--access-file", str(path), "--token-out", str(path.with_name(f"t{number}"))])


def test_writers_do_not_lose_each_others_changes(tmp_path: Path) -> None:
    """Concurrent writers wait for each other; the file is readable by its owner only, and no temporary file is left."""
    path = tmp_path / "access.json"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=create, args=(path, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert sorted(AccessFile(path).load().identities) == ["device d0", "device d1", "device d2"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["access.json", "access.json.lock", "t0", "t1", "t2"]


def test_mode_stays_and_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    """The relay's group can still read it; a writer that fails half-way changes nothing."""
    path = tmp_path / "access.json"
    file = AccessFile(path)
    with file.changing():
        pass
    path.chmod(0o640)
    before = path.read_bytes()
    with pytest.raises(RuntimeError), file.changing() as cell:
        cell[0] = Directory([Identity(role=Role.DEVICE, name="x")])
        raise RuntimeError
    assert path.read_bytes() == before
    with file.changing() as cell:
        cell[0] = Directory([Identity(role=Role.DEVICE, name="x")])
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


class Terminal:
    """Runs `relayctl` on an access file."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._path = path
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Run it; return the exit code and the output."""
        try:
            code = relayctl.main([*arguments, "--access-file", str(self._path)])
        except SystemExit as end:
            code = int(end.code or 0)
        printed = self._capsys.readouterr()
        return code, printed.out + printed.err


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """A terminal without identities."""
    return Terminal(tmp_path / "access.json", capsys)


def test_a_life_by_relayctl(terminal: Terminal, tmp_path: Path) -> None:
    """Created, listed, rotated, revoked; the token is printed once, and is not in the file."""
    code, token = terminal("device", "create", "lobby", "--expires-in", "30")
    assert code == 0
    token_id, secret = split_token(token.strip())
    text = (tmp_path / "access.json").read_text()
    assert token_id in text
    assert secret not in text
    assert "until 20" in terminal("device", "list")[1]
    again = terminal("device", "rotate", "lobby")[1]
    found = AccessFile(tmp_path / "access.json").load().identities["device lobby"]
    assert [record.matches(secret) for record in found.tokens] == [True, False]
    assert found.tokens[0].expires_unix_s <= found.tokens[1].created_unix_s + 24 * 3600
    assert split_token(again.strip())[1] not in terminal("device", "list")[1]
    assert terminal("device", "revoke", "lobby")[0] == 0
    assert "REVOKED" in terminal("device", "list")[1]
    assert terminal("device", "rotate", "lobby") == (2, "relayctl: error: device lobby was revoked; create it again\n")
    assert terminal("device", "create", "lobby")[0] == 0


def test_roles_and_rights_by_relayctl(terminal: Terminal, tmp_path: Path) -> None:
    """Listed as given; as JSON for programs."""
    assert terminal("publisher", "create", "shop", "--devices", "lobby,hall-*", "--trust-sampling", "--streams", "3")[0] == 0
    terminal("operator", "create", "ann", "--devices", "*", "--rpcs", "ListDevices", "--certificate", "ann.example")
    found = AccessFile(tmp_path / "access.json").load().identities
    shop, ann = found["publisher shop"], found["operator ann"]
    assert (shop.reach, shop.trusted_sampling, shop.max_streams) == (("lobby", "hall-*"), True, 3)
    assert (ann.granted, ann.certificate, ann.tokens) == (frozenset({"ListDevices"}), "ann.example", ())
    out = tmp_path / "token"
    terminal("operator", "rotate", "ann", "--token-out", str(out))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    before = (tmp_path / "access.json").read_bytes()
    assert terminal("operator", "rotate", "ann", "--token-out", str(out))[0] == 2
    assert (tmp_path / "access.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("device", "create", "lobby"), "exists already"),
        (("device", "revoke", "nobody"), "there is no device nobody"),
        (("operator", "create", "x", "--devices", "a b"), "is no device or group"),
        (("operator", "create", "x", "--devices", "*", "--rpcs", "Attach"), "is no RPC for the role operator"),
    ],
)
def test_what_can_not_be_is_said(terminal: Terminal, arguments: tuple[str, ...], said: str) -> None:
    """Status 2 and one line."""
    terminal("device", "create", "lobby")
    code, printed = terminal(*arguments)
    assert code == 2
    assert said in printed


def test_without_a_file_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """No default is guessed."""
    with pytest.raises(SystemExit) as caught:
        relayctl.main(["device", "list"])
    assert caught.value.code == 2
    assert "AVATAR_RELAY_ACCESS_FILE" in capsys.readouterr().err
