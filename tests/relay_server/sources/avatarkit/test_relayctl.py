"""`relayctl say` and `relayctl play` on a device whose source is a Server SDK in the configuration file; another device's is not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from avatar_relay.media import MotionEncoding
from avatar_relay.tracing import start_telemetry
from edge_client.audio.sink import Pcm
from edge_client.motion.decoders import make_motion_decoder
from relay_server.background import Background
from relay_server.cli import build_parser, load_config
from relay_server.relayctl import cli as relayctl
from relay_server.server import build_relay, serving, voice
from relay_server.sources import espeak
from relay_server.sources.espeak import EspeakError
from tests.edge_client.audio.decoders.clips import encode, need_opus_tools, reference, tones
from tests.relay_server.sources.audio2face.playing import SPEED, until_finished
from tests.relay_server.sources.avatarkit.motion_server import API_KEY, APP_ID, AVATAR_ID, MotionServer, Request
from tests.relay_server.sources.fast_device import FastDevice, Seen

FILE = """
speech_folder = "{folder}"

[devices.lobby]
source = "{sdk}"

[{sdk}]
app_id = "{app_id}"
avatar_id = "{avatar_id}"
console_url = "{server.console_url}"
ingress_url = "{server.ingress_url}"
"""


class House:
    """A listening relay configured by a file, with two devices."""

    def __init__(self, server: MotionServer, address: str, devices: dict[str, FastDevice]) -> None:
        self._server = server
        self._address = address
        self._devices = devices

    async def relayctl(self, verb: str, device: str, what: str) -> Seen:
        """Run the command, and wait until the device has finished the conversation."""
        before = set(self._devices[device].seen)
        assert await asyncio.to_thread(relayctl.main, ["--relay", self._address, verb, device, what]) == 0
        (conversation_id,) = set(self._devices[device].seen) - before
        return await until_finished(self._devices[device], conversation_id)

    def request(self) -> Request:
        """Return the only request so far."""
        (request,) = self._server.requests.values()
        return request

    def heard(self) -> Pcm:
        """Return its sound."""
        return np.frombuffer(bytes(self.request().audio), "<i2")


@asynccontextmanager
async def configured(sdk: str, folder: Path) -> AsyncIterator[House]:
    """Set up everything, with the unmodified package `sdk`."""
    pytest.importorskip(sdk, reason=f"the package {sdk} is not installed")
    server = MotionServer()
    async with server.serving():
        path = folder / "relay.toml"
        path.write_text(FILE.format(sdk=sdk, folder=folder, server=server, app_id=APP_ID, avatar_id=AVATAR_ID))
        config = load_config(build_parser().parse_args(["--config", str(path), "--listen", "127.0.0.1:0"]), {})
        relay = build_relay(config)
        devices = {
            "lobby": FastDevice(relay.connect_device(), "lobby"),
            "hall": FastDevice(relay.connect_device(), "hall", make_motion_decoder=make_motion_decoder),
        }
        telemetry = start_telemetry("relay-server", os.urandom(8).hex(), "0", {})
        environment = {f"AVATAR_RELAY_{sdk.upper()}_API_KEY": API_KEY}
        async with voice(relay, telemetry, environment, Background().start) as speech, serving(relay, speech) as (_, address):
            for device in devices.values():
                await device.attach()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work) for device in devices.values() for work in (device.listen(), device.play(SPEED))]
                yield House(server, address, devices)
                for task in tasks:
                    task.cancel()


def check(seen: Seen, request: Request, seconds: float) -> None:
    """The device has the SDK's motion, shows it, and plays all of the sound."""
    assert seen.opened is not None and seen.opened.motion_format is not None
    assert seen.opened.motion_format.encoding is MotionEncoding.AVATARKIT_V2
    assert seen.motion == request.sent
    assert seen.shown == {request.number}
    assert not seen.audio_only
    (finished,) = seen.finished
    assert (finished.reason, finished.interrupted) == ("completed", False)
    assert abs(finished.position_us - seconds * 1e6) <= 20_000


async def test_say(tmp_path: Path) -> None:
    """espeak-ng's sound is sent to the SDK, and the SDK's motion to the device; the other device moves with `local`."""
    try:
        espeak.load()
    except EspeakError as error:
        pytest.skip(str(error))
    async with configured("spatius", tmp_path) as house:
        seen = await house.relayctl("say", "lobby", "Good morning. These words were spoken here, and my lips were moved elsewhere.")
        request, heard = house.request(), house.heard()
        assert np.any(heard)
        check(seen, request, len(heard) / 22_050)
        hall = await house.relayctl("say", "hall", "Mine were moved here.")
        assert hall.opened is not None and hall.opened.motion_format is not None
        assert hall.opened.motion_format.encoding is MotionEncoding.BLENDSHAPE_WEIGHTS
        assert house.request() is request


@pytest.mark.parametrize("sdk", ["spatius", "spatialreal"])
async def test_play_an_ogg_opus_file(sdk: str, tmp_path: Path) -> None:
    """It is decoded here, once, for both: the SDK gets the samples that the device plays."""
    need_opus_tools()
    stream = encode(tmp_path, tones(5.0))
    (tmp_path / "speech.opus").write_bytes(stream)
    async with configured(sdk, tmp_path) as house:
        seen = await house.relayctl("play", "lobby", "speech.opus")
        check(seen, house.request(), 5.0)
        error = house.heard().astype(int) - reference(tmp_path, stream)
        assert np.max(np.abs(error)) <= 2
