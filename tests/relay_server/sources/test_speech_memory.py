"""`Speak` leaves little memory behind: its publisher remembers only as many past conversations as may run at the same time."""

from __future__ import annotations

import gc
import tracemalloc

import grpc

from avatar_relay.media import OnPlaying
from avatar_relay.v1 import media_pb2 as pb
from relay_server.sources.source import TextSpeech
from relay_server.sources.speech_publishing import MAX_PERFORMANCES, SpeechPublisher, serving_speech
from tests.relay_server.service.wired import Stream, finished, wired
from tests.relay_server.sources.test_speech_publishing import MOTION, SOUND, ScriptedSource

SPOKEN = 200
"""So many that the cancelled timers which the event loop still has, at most a hundred, do not matter."""
MAX_BYTES_EACH = 1_000
"""Id, outcome and event, in the ledgers of relay and publisher; a remembered conversation takes 8 KB."""


async def speak(speech: SpeechPublisher, device: Stream, first: int, count: int) -> None:
    """Speak, one conversation after the other; the device plays each at once."""
    for number in range(first, first + count):
        conversation_id, _ = await speech.speak("lobby", TextSpeech("x"), OnPlaying.QUEUE)
        cursor = pb.Cursor(conversation_id=conversation_id)
        while True:
            response = await device.call.read()
            assert response is not grpc.aio.EOF
            if response.HasField("ping"):
                await device.say(pong=pb.Pong(id=response.ping.id))
            for payload in response.media.payloads:
                size = {"audio_bytes" if payload.kind == pb.KIND_AUDIO else "motion_bytes": len(payload.data)}
                await device.say(credit=pb.Credit(**size))
            if response.HasField("end"):
                cursor.audio_seq, cursor.motion_seq = response.end.last_audio_seq, response.end.last_motion_seq
                break
        await device.say(held=pb.Held(cursors=[cursor]))
        await device.say(event=finished(number, conversation_id))


async def test_a_past_speech_leaves_little() -> None:
    """Of many speeches, after as many as are remembered. Their publisher remembered 1,024, at 8 KB each."""
    source = ScriptedSource(MOTION, SOUND, MOTION)
    async with wired() as relay, serving_speech(relay.relay, text=source, audio=source, recording=source, folder=None) as speech:
        device = await relay.device()
        tracemalloc.start()
        try:
            await speak(speech, device, 1, MAX_PERFORMANCES + 5)
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            await speak(speech, device, MAX_PERFORMANCES + 6, SPOKEN)
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] - before < SPOKEN * MAX_BYTES_EACH
        finally:
            tracemalloc.stop()
