"""The configuration file selects the source: `Speak` on one device uses the service, on another it does not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from avatar_relay.errors import ConfigError
from avatar_relay.media import OnPlaying
from avatar_relay.reasons import Reason
from avatar_relay.tracing import start_telemetry
from edge_client.motion.decoders import make_motion_decoder
from relay_server.background import Background
from relay_server.cli import build_parser, load_config
from relay_server.connections.relay import Relay
from relay_server.core.events import ConversationFaulted
from relay_server.server import build_relay, voice
from relay_server.service.admin import Speech
from relay_server.sources.source import NamedSpeech
from tests.lab.services.audio2face import NAMES, Audio2FaceService, Trouble, serving
from tests.relay_server.sources.audio2face.playing import playing, until_finished
from tests.relay_server.sources.audio2face.test_end_to_end import CLIP
from tests.relay_server.sources.fast_device import FastDevice, Seen

FILE = """
speech_folder = "{folder}"

[audio2face]
target = "{target}"
timeout_s = 0.5
emotions = [{{joy = 0.5}}]

[devices.lobby]
source = "audio2face"
"""


@asynccontextmanager
async def configured(service: Audio2FaceService, folder: Path) -> AsyncIterator[tuple[Relay, Speech, dict[str, FastDevice]]]:
    """A relay configured by a file, with two devices."""
    async with serving(service) as target:
        path = folder / "relay.toml"
        path.write_text(FILE.format(folder=CLIP.parent, target=target))
        config = load_config(build_parser().parse_args(["--config", str(path)]), {})
        relay = build_relay(config)
        devices = {name: FastDevice(relay.connect_device(), name, make_motion_decoder=make_motion_decoder) for name in ("lobby", "hall")}
        telemetry = start_telemetry("relay-server", os.urandom(8).hex(), "0", {})
        async with playing(relay, *devices.values()), voice(relay, telemetry, {}, Background().start) as speech:
            yield relay, speech, devices


async def speak(speech: Speech, device: FastDevice, name: str) -> Seen:
    """Speak the clip, and wait until it has finished."""
    conversation_id, _ = await speech.speak(name, NamedSpeech(CLIP.name), OnPlaying.REPLACE)
    return await until_finished(device, conversation_id)


async def test_each_device_speaks_with_the_source_of_its_own(tmp_path: Path) -> None:
    """The motion of `lobby` is the service's, that of `hall` is from `local`."""
    service = Audio2FaceService()
    async with configured(service, tmp_path) as (_, speech, devices):
        lobby = await speak(speech, devices["lobby"], "lobby")
        hall = await speak(speech, devices["hall"], "hall")
    (heard,) = service.calls
    assert heard.emotions[0][0] == 0.0
    assert heard.emotions[0][1] == {"joy": 0.5}
    assert lobby.opened is not None and lobby.opened.motion_format is not None
    assert lobby.opened.motion_format.blendshape_names == NAMES
    assert hall.opened is not None and hall.opened.motion_format is not None
    assert hall.opened.motion_format.blendshape_names != NAMES


@pytest.mark.parametrize("trouble", [Trouble.NAN_WEIGHT, Trouble.UNAUTHENTICATED], ids=lambda trouble: trouble.name)
async def test_operators_see_why_motion_is_lost(tmp_path: Path, trouble: Trouble) -> None:
    """The reason appears once among the events of the conversation; the sound is played."""
    service = Audio2FaceService(trouble)
    async with configured(service, tmp_path) as (relay, speech, devices):
        with relay.watch(frozenset({"lobby"})) as watcher:
            seen = await speak(speech, devices["lobby"], "lobby")
            reasons: list[Reason] = []
            async with asyncio.timeout(5):
                while not reasons:
                    watched = await watcher.receive()
                    if watched is not None and isinstance(watched.notice, ConversationFaulted):
                        reasons.append(watched.notice.fault.reason)
    assert reasons == [Reason.SOURCE_INVALID if trouble is Trouble.NAN_WEIGHT else Reason.SOURCE_REFUSED]
    assert [finished.reason for finished in seen.finished] == ["completed"]


def test_service_that_is_not_set_up(tmp_path: Path) -> None:
    """A device cannot use a source without a table."""
    path = tmp_path / "relay.toml"
    path.write_text('[devices.lobby]\nsource = "audio2face"\n')
    with pytest.raises(ConfigError, match=r"devices\.lobby\.source: 'audio2face' is not set up"):
        load_config(build_parser().parse_args(["--config", str(path)]), {})
