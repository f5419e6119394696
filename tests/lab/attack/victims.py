"""A relay with an access file and honest callers, and measurements of their service."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from avatar_relay.client_credentials import Credentials
from avatar_relay.credentials import metadata_of
from avatar_relay.media import OnPlaying
from avatar_relay.publisher import Publisher, PublisherError
from relay_server.access import issuing
from relay_server.access.identities import Identity
from relay_server.access.scopes import Role
from relay_server.access.store import AccessFile
from relay_server.access.tokens import make_token
from tests.lab.attack.http2 import ATTACH
from tests.lab.attack.insiders import MINE, OTHER, hello
from tests.lab.chaos import tapped_relay
from tests.lab.history import History
from tests.lab.percentiles import percentiles
from tests.lab.programs import Program, python, running
from tests.lab.restarted_programs import resident_kib
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.speaker import AUDIO
from tests.lab.stamp import age_us, audio_payload, now_us, read_stamp

ATTACH_EVERY_S, ATTACH_WITHIN_S = 0.5, 5.0
PAYLOAD_S = 0.02
LATE = "late"


def make_access(path: Path, devices: int = 1) -> dict[str, str]:
    """Write an access file; returns the tokens of the honest callers by name, and the attacker's by `ATTACK_ROLE`."""
    wanted = [("ATTACK_DEVICE", Role.DEVICE, MINE, ()), ("ATTACK_PUBLISHER", Role.PUBLISHER, "eve", (MINE,))]
    wanted += [("ATTACK_OPERATOR", Role.OPERATOR, "clerk", (MINE,)), ("honest", Role.PUBLISHER, "honest", (f"{OTHER}*",))]
    wanted += [(name, Role.DEVICE, name, ()) for name in (LATE, *names(devices))]
    tokens: dict[str, str] = {}
    with AccessFile(path).changing() as cell:
        for key, role, name, reach in wanted:
            tokens[key], record = make_token(os.urandom, int(time.time()))
            calls = 100_000 if name == LATE else 0
            cell[0] = issuing.create(cell[0], Identity(role=role, name=name, devices=reach, tokens=(record,), calls_per_minute=calls))
    return tokens


def names(devices: int) -> list[str]:
    """Names of the honest devices."""
    return [OTHER, *(f"{OTHER}-{number}" for number in range(1, devices))]


@dataclass
class Noticed:
    """Measurements of honest callers in one phase."""

    ages_us: list[int] = field(default_factory=list)
    attach_s: list[float] = field(default_factory=list)
    attach_failed: list[str] = field(default_factory=list)

    def p99_ms(self) -> float:
        """99th percentile of media ages."""
        return percentiles(self.ages_us)["p99"] / 1_000


class Victims:
    """The relay, devices that receive conversations, and one that attaches repeatedly."""

    def __init__(
        self, relay: Program, address: str, tokens: dict[str, str], devices: list[SimulatedDevice], authority: bytes | None
    ) -> None:
        """`authority`: its certificate in PEM; None in plaintext."""
        self.relay = relay
        self.address = address
        self.tokens = tokens
        self.devices = devices
        self.credentials = None if authority is None else grpc.ssl_channel_credentials(authority)
        self.noticed = Noticed()

    def begin_phase(self) -> Noticed:
        """Start a new phase of measurements."""
        self.noticed = Noticed()
        return self.noticed

    def note(self, data: bytes) -> None:
        """Record a received payload."""
        self.noticed.ages_us.append(age_us(read_stamp(data), now_us()))

    def rss_mib(self) -> float:
        """The relay's resident memory."""
        return resident_kib(self.relay.pid) / 1_024

    async def speak(self, publisher: Publisher) -> None:
        """Publish to each device in real time; less often if there are many, so that measuring costs less than the relay."""
        how: Any = {"audio_format": AUDIO, "motion_format": None, "on_playing": OnPlaying.QUEUE}
        avatars = [publisher.avatar(device.device_id, **how) for device in self.devices]
        at = 0
        while True:
            for avatar in avatars:
                with suppress(PublisherError):
                    await avatar.yield_audio_data(audio_payload(0, at, now_us()), end=at % 250 == 249)
            at += 1
            await asyncio.sleep(PAYLOAD_S * max(1, len(avatars) / 5))

    async def attach_again_and_again(self) -> None:
        """Repeatedly attach a device on its own connection, and measure the time to its welcome."""
        while True:
            began, noticed = time.monotonic(), self.noticed
            try:
                async with asyncio.timeout(ATTACH_WITHIN_S):
                    await self._attach()
                noticed.attach_s.append(time.monotonic() - began)
            except (TimeoutError, grpc.RpcError, asyncio.InvalidStateError, EOFError) as error:
                code: Any = error
                noticed.attach_failed.append(code.code().name if isinstance(error, grpc.RpcError) else type(error).__name__)
            await asyncio.sleep(ATTACH_EVERY_S)

    def _channel(self) -> grpc.aio.Channel:
        options = [("grpc.use_local_subchannel_pool", 1)]
        if self.credentials is None:
            return grpc.aio.insecure_channel(self.address, options=options)
        return grpc.aio.secure_channel(self.address, self.credentials, options=options)

    async def _attach(self) -> None:
        """Attach as a device does: retry immediate failures within the time limit."""
        while True:
            async with self._channel() as channel:
                call: Any = channel.stream_stream(ATTACH)(metadata=metadata_of(self.tokens[LATE]))
                try:
                    await call.write(hello(LATE))
                    if await call.read() is not grpc.aio.EOF:
                        return
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    pass
                finally:
                    call.cancel()
            await asyncio.sleep(0.1)


@asynccontextmanager
async def honest_side(
    folder: Path, devices: int, history: History, *flags: str, tap: Path | None = None, tls: tuple[Path, Path] | None = None
) -> AsyncIterator[Victims]:
    """The relay with its devices attached, and no publisher yet.

    With `tap`, a tapped relay that writes its figures there, and payloads without stamps; otherwise the age of each payload is recorded.
    `tls`: certificate, which is its own authority, and key; None: plaintext.
    """
    access, port = folder / "access.json", folder / "port"
    tokens = make_access(access, devices)
    module, environment = ("relay_server", {}) if tap is None else (tapped_relay.__name__, {tapped_relay.TAP: str(tap)})
    command = [*python(module), "--listen", "127.0.0.1:0", "--port-file", str(port), "--access-file", str(access), *flags]
    if tls is not None:
        command += ["--tls-cert-file", str(tls[0]), "--tls-key-file", str(tls[1])]
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(running("relay-server", command, folder / "relay.log", environment))
        await relay.wait_for("listening on", 30)
        authority = None if tls is None else tls[0].read_bytes()
        found = Victims(relay, f"127.0.0.1:{port.read_text().strip()}", tokens, [], authority)
        on_payload: Callable[[bytes], None] = found.note if tap is None else lambda data: None
        for number, name in enumerate(names(devices)):
            shown = partial(Credentials, authority, token=tokens[name])
            device = SimulatedDevice(name, found.address, history, random.Random(number), on_payload=on_payload, credentials=shown)
            found.devices.append(device)
            stack.push_async_callback(device.kill)
        await until_attached(found.devices)
        yield found


@asynccontextmanager
async def victims(folder: Path, devices: int = 1, *flags: str, tls: tuple[Path, Path] | None = None) -> AsyncIterator[Victims]:
    """The relay, its devices and publishers, running."""
    async with AsyncExitStack() as stack:
        history = stack.enter_context(History())
        found = await stack.enter_async_context(honest_side(folder, devices, history, *flags, tls=tls))
        publisher = await stack.enter_async_context(
            Publisher.connect(found.address, token=found.tokens["honest"], credentials=found.credentials)
        )
        for work in (found.speak(publisher), found.attach_again_and_again()):
            stack.callback(asyncio.create_task(work).cancel)
        yield found
