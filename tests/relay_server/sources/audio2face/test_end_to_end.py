"""Text to face: espeak-ng, the stand-in service, a relay, and a device that plays many times faster than real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from avatar_relay import weights
from avatar_relay.media import AudioFormat, Codec, MotionFormat, OnPlaying
from avatar_relay.publisher import Publisher
from avatar_relay.reasons import Fault
from edge_client.motion.decoder import MotionDecoder
from edge_client.motion.decoders import make_motion_decoder
from edge_client.motion.pose import Poses
from edge_client.motion.track import MotionTrack
from relay_server.config import RelayConfig
from relay_server.connections.relay import Relay
from relay_server.server import build_relay
from relay_server.sources import espeak
from relay_server.sources.audio2face.settings import Audio2FaceSettings
from relay_server.sources.audio2face.source import Audio2FaceSource
from relay_server.sources.espeak import EspeakError
from relay_server.sources.local.source import LocalSource
from relay_server.sources.source import AudioSpeech, FileSpeech, Speech, TextSpeech
from relay_server.sources.speech import SpeechSource
from relay_server.sources.speech_publishing import PublishedSpeech
from tests.lab.services.audio2face import NAMES, Audio2FaceService, Trouble, serving
from tests.relay_server.sources.audio2face.playing import SPEED, playing, until_finished
from tests.relay_server.sources.audio2face.speakers import RATE_HZ, SPEECH
from tests.relay_server.sources.audio2face.test_source import FAULTS, FAULTS_MIDWAY
from tests.relay_server.sources.fast_device import FastDevice, Seen

CLIP = Path(espeak.__file__).parent / "assets" / "demo.wav"


@dataclass
class DecodedRows:
    """The real decoder; records its input."""

    real: MotionDecoder
    payloads: list[bytes] = field(default_factory=list)

    def make_track(self, keyframes_per_second: float) -> MotionTrack:
        """Forward to the decoder."""
        return self.real.make_track(keyframes_per_second)

    def complaint(self) -> Fault | None:
        """Forward to the decoder."""
        return self.real.complaint()

    def decode(self, data: bytes) -> Poses:
        """See `MotionDecoder`."""
        self.payloads.append(data)
        return self.real.decode(data)


@dataclass
class Rig:
    """The complete set-up."""

    source: Audio2FaceSource
    publisher: Publisher
    relay: Relay
    device: FastDevice
    decoders: list[DecodedRows]

    async def speak(self, speech: Speech, on_playing: OnPlaying = OnPlaying.REPLACE) -> Seen:
        """Run one conversation until the device has finished it."""
        rendition = PublishedSpeech(self.publisher, await self.source.perform(speech), ("lobby",), on_playing)
        conversation_id = await rendition.begin()
        await rendition.finish()
        return await until_finished(self.device, conversation_id)


@asynccontextmanager
async def rig(service: Audio2FaceService, *, speed: float = SPEED, timeout_s: float = 1.5) -> AsyncIterator[Rig]:
    """Set up everything."""
    decoders: list[DecodedRows] = []

    def remember(motion_format: MotionFormat) -> MotionDecoder:
        decoders.append(DecodedRows(make_motion_decoder(motion_format)))
        return decoders[-1]

    relay = build_relay(RelayConfig(listen="127.0.0.1:0"))
    device = FastDevice(relay.connect_device(), make_motion_decoder=remember)
    async with serving(service) as target:
        source = Audio2FaceSource(Audio2FaceSettings(target=target, timeout_s=timeout_s), text=SpeechSource(), audio=LocalSource())
        try:
            async with playing(relay, device, speed=speed), Publisher.in_process(relay) as publisher:
                yield Rig(source, publisher, relay, device, decoders)
        finally:
            await source.close()


async def test_text_reaches_the_device_with_the_face_of_the_service() -> None:
    """Every row is the service's, at its time; the sound plays to its end; one finished event."""
    try:
        espeak.load()
    except EspeakError as error:
        pytest.skip(str(error))
    service = Audio2FaceService()
    async with rig(service) as house:
        seen = await house.speak(TextSpeech("My lips move, and a service far away tells them how. Maybe you can see it?"))
    assert_all_arrived(service, house, seen)


async def test_file_reaches_the_device_with_the_face_of_the_service() -> None:
    """The same for a file of speech."""
    service = Audio2FaceService()
    async with rig(service) as house:
        seen = await house.speak(FileSpeech(CLIP))
    assert_all_arrived(service, house, seen)


def assert_all_arrived(service: Audio2FaceService, house: Rig, seen: Seen) -> None:
    """Row by row, PTS by PTS, and once."""
    (heard,) = service.calls
    (decoder,) = house.decoders
    assert seen.opened is not None and seen.opened.motion_format is not None
    assert seen.opened.motion_format.blendshape_names == NAMES
    assert decoder.payloads == seen.motion
    rows = np.vstack([weights.read(data, len(NAMES)) for data in seen.motion])
    np.testing.assert_array_equal(rows, heard.rows)
    keyframes = np.cumsum([0, *(len(data) // (4 * len(NAMES)) for data in seen.motion)])
    for (pts_us, duration_us), first, last in zip(seen.motion_places, keyframes, keyframes[1:], strict=False):
        assert abs(pts_us - first * 1e6 / 30) <= 1
        assert abs(pts_us + duration_us - last * 1e6 / 30) <= 1
    (finished,) = seen.finished
    assert (finished.reason, finished.interrupted) == ("completed", False)
    assert abs(finished.position_us - len(heard.audio) / 2 / heard.rate_hz * 1e6) <= 20_000
    assert not seen.audio_only


@pytest.mark.parametrize("trouble", [*FAULTS, *FAULTS_MIDWAY], ids=lambda trouble: trouble.name)
async def test_trouble_costs_the_motion_and_never_the_sound(trouble: Trouble) -> None:
    """Whatever the service does: the device plays all sound, is notified that no motion follows, and finishes once."""

    async def speech() -> AsyncIterator[bytes]:
        yield SPEECH

    service = Audio2FaceService(trouble)
    async with rig(service) as house:
        seen = await house.speak(AudioSpeech(AudioFormat(Codec.PCM_S16LE, RATE_HZ), speech()))
    (finished,) = seen.finished
    assert (finished.reason, finished.interrupted) == ("completed", False)
    assert abs(finished.position_us - len(SPEECH) / 2 / RATE_HZ * 1e6) <= 20_000
    assert seen.opened is not None
    covers_all = trouble is Trouble.NEVER_ENDS  # before the fault: nothing is given up
    assert seen.audio_only == (trouble in FAULTS_MIDWAY and not covers_all)
    assert (seen.opened.motion_format is None) == (trouble in FAULTS)


async def test_silent_service_does_not_delay_the_end() -> None:
    """In real time: the sound has no gap, the conversation finishes with its last sample, and the next one begins at once."""

    async def speech() -> AsyncIterator[bytes]:
        yield SPEECH

    seconds = len(SPEECH) / 2 / RATE_HZ
    async with rig(Audio2FaceService(Trouble.STALLS_MIDWAY), speed=1, timeout_s=8.0) as house:
        sound = AudioSpeech(AudioFormat(Codec.PCM_S16LE, RATE_HZ), speech())
        first = asyncio.create_task(house.speak(sound))
        await asyncio.sleep(1)
        again = AudioSpeech(AudioFormat(Codec.PCM_S16LE, RATE_HZ), speech())
        follower = await house.speak(again, OnPlaying.QUEUE)
        seen = await first
    assert [finished.reason for finished in seen.finished] == ["completed"]
    assert seen.finished_us - seen.started_us <= seconds * 1e6 + 300_000
    assert abs(follower.started_us - seen.started_us - seconds * 1e6) <= 20_000
