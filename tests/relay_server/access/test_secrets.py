"""Secrets stay where they belong: real programs run, and all of their output and files are searched."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from avatar_relay.media import AudioFormat, Codec
from avatar_relay.publisher import ConnectionLostError, Publisher
from relay_server.access.scopes import Role
from relay_server.access.tokens import split_token
from tests.lab.data import PROJECT_ROOT
from tests.lab.otlp import SIGNALS, OtlpReceiver
from tests.relay_server.access.guarded import Access

PATIENCE_S = 20.0


class Program:
    """A running program and its output."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = b""
        self.command_line = Path(f"/proc/{process.pid}/cmdline").read_bytes()

    async def until(self, text: bytes) -> bytes:
        """Return the next line that contains this text."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while True:
                line = await self.process.stdout.readline()
                assert line, self.said.decode()
                self.said += line
                if text in line:
                    return line

    async def end(self) -> None:
        """Read all output; the program ends by itself or is stopped at once."""
        if self.process.returncode is None:
            self.process.kill()
        self.said += (await self.process.communicate())[0]

    async def ended(self) -> int:
        """Read all output; return the exit status."""
        async with asyncio.timeout(PATIENCE_S):
            self.said += (await self.process.communicate())[0]
            return await self.process.wait()


@asynccontextmanager
async def running(environment: dict[str, str], *command: str) -> AsyncIterator[Program]:
    """Run one of our programs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *command),
        cwd=PROJECT_ROOT,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    program = Program(process)
    try:
        yield program
    finally:
        await program.end()


async def test_no_secret_leaves_its_place(tmp_path: Path) -> None:
    """All programs present right and wrong tokens; logs at the most verbose level, traces, errors and command lines contain none."""
    access = Access(tmp_path)
    files = {name: tmp_path / name for name in ("device", "backend", "ann", "wrong")}
    files["device"].write_text(access.add(Role.DEVICE, "lobby"))
    files["backend"].write_text(access.add(Role.PUBLISHER, "backend", devices=("*",), trusted_sampling=True))
    files["ann"].write_text(access.add(Role.OPERATOR, "ann", devices=("*",)))
    files["wrong"].write_text(files["ann"].read_text()[:-64] + "f" * 64)
    left: list[bytes] = []
    async with OtlpReceiver() as collector:
        export = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        relay_flags = ("--listen", "127.0.0.1:0", "--access-file", str(access.path), "--log-level", "debug")
        async with running(export, "relay_server", *relay_flags) as relay:
            address = (await relay.until(b"listening on")).decode().split()[-1]
            edge_flags = ("--relay", address, "--device-id", "lobby", "--headless", "--renderer", "none", "--log-level", "debug")
            async with running(export, "edge_client", *edge_flags, "--token-file", str(files["device"])) as device:
                await device.until(b"attached")
                await speak(address, files["backend"])
                await collector.wait_for(b"relay.send", PATIENCE_S)
            async with running({}, "edge_client", *edge_flags, "--token-file", str(files["wrong"])) as stranger:
                await stranger.until(b"the relay refused this device")
            for shown in ("ann", "wrong"):
                environment = {"RELAYCTL_TOKEN_FILE": str(files[shown])}
                async with running(environment, "relay_server.relayctl.cli", "--relay", address, "devices") as operator:
                    assert (await operator.ended() == 0) is (shown == "ann"), operator.said
                left.append(operator.said + operator.command_line)
            try:
                await speak(address, files["wrong"])
                raise AssertionError("a wrong token was let in")
            except ConnectionLostError as error:
                left.append(repr(error).encode())
        left += [program.said + program.command_line for program in (relay, device, stranger)]
    assert b"CREDENTIALS_INVALID" in relay.said
    secrets = [split_token(file.read_text())[1].encode() for file in files.values()]
    assert all(len(secret) == 64 for secret in secrets)
    everything = b"".join((*left, *(collector.received(signal) for signal in SIGNALS), access.path.read_bytes()))
    assert [secret for secret in secrets if secret in everything or bytes.fromhex(secret.decode()) in everything] == []


async def speak(address: str, token: Path) -> None:
    """A backend publishes a tenth of a second of silence."""
    async with Publisher.connect(address, token=token) as publisher:
        avatar = publisher.avatar("lobby", audio_format=AudioFormat(Codec.PCM_S16LE, 16_000))
        conversation_id = await avatar.yield_audio_data(bytes(3_200), end=True)
        await avatar.finished(conversation_id)
