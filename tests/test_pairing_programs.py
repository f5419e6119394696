"""Two devices without address or token finally play for a relay: real programs that find each other, and an operator at a terminal."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_client.paired import PairingFile
from tests.lab.programs import Program, python, running
from tests.relay_server.access.guarded import Authority

PATIENCE_S = 90.0
"""A code is valid for a minute."""
WAITS = r"not paired: let this device in by `relayctl pair (\S+)-(\d{6})`"
LOOKS_LIKE_A_TOKEN = re.compile(r"avr_[A-Za-z0-9_-]{8}")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Operator:
    """An operator at a terminal, with a token in a file."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.access, self.token = folder / "access.json", folder / "operator.token"
        self.said: list[str] = []
        self._authority = authority
        self.address = ""

    async def types(self, *arguments: str) -> tuple[int, str]:
        """Return the exit status and all output."""
        there = ["--relay", self.address, "--tls-ca-file", str(self._authority.certificate), "--token-file", str(self.token)]
        command = [*python("relay_server.relayctl.cli"), *(there if self.address else []), *arguments]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.said.append(done.stdout + done.stderr)
        return done.returncode, self.said[-1]

    async def attached(self) -> set[str]:
        """Return the attached devices."""
        _, text = await self.types("--json", "devices")
        return {device["device_id"] for device in json.loads(text)["devices"] if device["attached"]}


@asynccontextmanager
async def device(folder: Path, name: str) -> AsyncIterator[Program]:
    """A new device: no address, no token; the program is run with its complete log."""
    own = folder / name
    own.mkdir()
    command = [
        *python("edge_client"),
        "--device-id",
        name,
        "--headless",
        "--renderer",
        "none",
        "--audio-sink",
        "virtual",
        "--log-level",
        "debug",
    ]
    async with running(name, command, own / "log", {"XDG_STATE_HOME": str(own)}) as program:
        yield program


def command_lines() -> str:
    """Return those of all processes on this machine."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(entry.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


async def test_no_address_and_no_token_is_typed_or_shown(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("localhost", "relay")
    operator = Operator(tmp_path, authority)
    given = ("--access-file", str(operator.access), "--token-out", str(operator.token))
    assert (await operator.types("operator", "create", "ann", "--devices", "*", *given))[0] == 0
    relay_command = [*python("relay_server"), "--listen", "127.0.0.1:0", "--announce", "on", "--access-file", str(operator.access)]
    relay_command += ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--log-level", "debug"]
    async with running("relay", relay_command, tmp_path / "relay.log", {}) as relay:
        port = (await relay.wait_for(r"listening on \S+:(\d+)", PATIENCE_S))[1]
        operator.address = f"localhost:{port}"
        await relay.wait_for("announced in the network", PATIENCE_S)
        async with device(tmp_path, "lobby") as lobby, device(tmp_path, "hall") as hall:
            expired = [(await one.wait_for(WAITS, PATIENCE_S))[2] for one in (lobby, hall)]
            wrong = next(code for code in ("000000", "111111") if code not in expired)
            status, text = await operator.types("pair", f"lobby-{wrong}")
            assert status == 1 and "the code is wrong" in text
            for one, name, code in ((lobby, "lobby", expired[0]), (hall, "hall", expired[1])):
                await one.wait_for(rf"relayctl pair {name}-(?!{code})\d{{6}}`", PATIENCE_S)
            status, text = await operator.types("pair", f"hall-{expired[1]}")
            assert status == 1 and "the code is wrong, or the device shows another one by now" in text
            await asyncio.sleep(3)  # a device whose exchange failed waits again after 2 s
            codes = [re.findall(WAITS, one.said())[-1] for one in (lobby, hall)]
            both = await asyncio.gather(*(operator.types("pair", f"{name}-{code}") for name, code in codes))
            assert both == [(0, f"paired: device {name}\n") for name, _ in codes]
            async with asyncio.timeout(PATIENCE_S):
                while await operator.attached() != {"lobby", "hall"}:  # noqa: ASYNC110
                    await asyncio.sleep(0.5)
            running_commands = command_lines()
            status, text = await operator.types("say", "lobby", "Here I am.")
            assert status == 0, text
    tokens = [operator.token.read_text().strip()]
    for name in ("lobby", "hall"):
        paired = PairingFile(tmp_path / name / "edge-client").read()
        assert paired is not None
        tokens.append(paired.token)
    shown = [relay.said(), lobby.said(), hall.said(), *operator.said, running_commands]
    for token, text in itertools.product(tokens, shown):
        assert token not in text
    assert not any(LOOKS_LIKE_A_TOKEN.search(text) for text in shown)
    assert not any(token in operator.access.read_text() for token in tokens), "only hashes are kept"
    assert all(LOOKS_LIKE_A_TOKEN.match(token) for token in tokens), "what was searched for is what tokens look like"
