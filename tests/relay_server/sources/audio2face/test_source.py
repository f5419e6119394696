"""Source `audio2face` against a stand-in with the service's protocol over real gRPC."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat, Pacing
from avatar_relay.reasons import Reason
from relay_server.sources.audio2face import call as call_module
from relay_server.sources.audio2face.settings import Audio2FaceSettings, Emotion
from relay_server.sources.audio2face.source import Audio2FaceSource
from relay_server.sources.source import AudioChunk, AudioSpeech, MotionChunk, MotionLost, SourceError, close_early
from tests.lab.services.audio2face import NAMES, TROUBLE_AT, Audio2FaceService, Trouble, serving
from tests.relay_server.sources.audio2face.speakers import HELLO, RATE_HZ, SPEECH, Speaker, against, noise, performed_against
from tests.relay_server.sources.performances import assert_motion_is_in_time, read_all


async def test_performance() -> None:
    """The service's names and rows are unchanged, the sound is identical to the sample, motion precedes its sound."""
    service = Audio2FaceService()
    async with against(service, Speaker(SPEECH)) as source:
        performance = await source.perform(HELLO)
        assert performance.audio_format == AudioFormat(Codec.PCM_S16LE, RATE_HZ)
        assert performance.motion_format == MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 30.0, NAMES)
        assert performance.pacing is Pacing.BURST
        performed = await assert_motion_is_in_time(performance)
    (heard,) = service.calls
    assert bytes(heard.audio) == performed.audio == SPEECH
    assert heard.ended
    np.testing.assert_array_equal(performed.rows(len(NAMES)), heard.rows)
    assert not performed.losses
    assert dict(source.counters) == {"calls": 1, "processed": 1, "keyframes_filled": 0, "keyframes_passed_over": 0}


async def test_keyframes_are_joined() -> None:
    """Several keyframes per payload, and no payload longer than half a second."""
    _, performed, _, _ = await performed_against(Trouble.NONE, SPEECH)
    sizes = [len(data) // (4 * len(NAMES)) for data in performed.motion]
    assert sum(sizes) == 75
    assert max(sizes) <= 15
    assert len(sizes) <= 26


FAULTS = {
    Trouble.ANIMATION_FIRST: (Reason.SOURCE_INVALID, "animation came before the header", False),
    Trouble.ERROR_FIRST: (Reason.SOURCE_FAILED, "Audio2Face-3D says: ERROR", False),
    Trouble.NO_NAMES: (Reason.SOURCE_INVALID, "different blendshape names, and has 0", False),
    Trouble.NAMES_TWICE: (Reason.SOURCE_INVALID, "different blendshape names, and has 2", False),
    Trouble.UNAUTHENTICATED: (Reason.SOURCE_REFUSED, "UNAUTHENTICATED (no such key", False),
    Trouble.ALWAYS_AWAY: (Reason.SOURCE_UNAVAILABLE, "UNAVAILABLE (starting)", True),
    Trouble.NEVER_ANSWERS: (Reason.SOURCE_SILENT, "has been silent for", True),
}
FAULTS_MIDWAY = {
    Trouble.SECOND_HEADER: (Reason.SOURCE_INVALID, "a second header", False),
    Trouble.ERROR_MIDWAY: (Reason.SOURCE_FAILED, "Audio2Face-3D says: ERROR", False),
    Trouble.NAN_WEIGHT: (Reason.SOURCE_INVALID, "the weight 0 at 1.000 s is not finite", False),
    Trouble.NARROW_ROW: (Reason.SOURCE_INVALID, "3 weights for 54 names", False),
    Trouble.TIME_GOES_BACK: (Reason.SOURCE_INVALID, "time goes back from 0.967 s to 0.100 s", False),
    Trouble.LONG_GAP: (Reason.SOURCE_INVALID, "no keyframes from 1.000 s to 3.000 s", False),
    Trouble.NEVER_ENDS: (Reason.SOURCE_INVALID, "", False),
    Trouble.OVERSIZED_MESSAGE: (Reason.SOURCE_INVALID, "larger than max", False),
    Trouble.GARBAGE: (Reason.SOURCE_INVALID, "no message of the service", False),
    Trouble.ENDS_EARLY: (Reason.SOURCE_INVALID, "its motion ends at", False),
    Trouble.CANCELS_MIDWAY: (Reason.SOURCE_UNAVAILABLE, "CANCELLED (moved elsewhere)", True),
    Trouble.STALLS_MIDWAY: (Reason.SOURCE_SILENT, "has been silent for", True),
    Trouble.AFTER_STATUS: (Reason.SOURCE_INVALID, "after the last status", False),
}


@pytest.mark.parametrize("trouble", FAULTS, ids=lambda trouble: trouble.name)
async def test_service_that_fails_at_once(trouble: Trouble) -> None:
    """No motion from the start, reported by name; the sound is complete."""
    performance, performed, _, counters = await performed_against(trouble, SPEECH)
    reason, text, may_pass = FAULTS[trouble]
    assert performance.motion_format is None
    assert isinstance(performed.items[0], MotionLost)
    fault = performed.items[0].fault
    assert fault.reason is reason
    assert text in fault.text
    assert bool(fault.retry_after_ms) == may_pass
    assert performed.audio == SPEECH
    assert not performed.motion
    assert counters[f"motion_lost.{reason}"] == 1


@pytest.mark.parametrize("trouble", FAULTS_MIDWAY, ids=lambda trouble: trouble.name)
async def test_service_that_fails_midway(trouble: Trouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Earlier motion is shown, the loss is reported once and by name, and the sound is complete to the sample."""
    monkeypatch.setattr(call_module, "_SLACK_S", 0.0)
    _, performed, service, counters = await performed_against(trouble, SPEECH)
    reason, text, may_pass = FAULTS_MIDWAY[trouble]
    (lost,) = performed.losses
    assert lost.fault.reason is reason, lost
    assert text in lost.fault.text
    assert bool(lost.fault.retry_after_ms) == may_pass
    assert performed.audio == SPEECH
    assert counters[f"motion_lost.{reason}"] == 1
    after = performed.items[performed.items.index(lost) :]
    assert not any(isinstance(item, MotionChunk) for item in after)
    if performed.motion:
        rows = performed.rows(len(NAMES))[:TROUBLE_AT]
        np.testing.assert_array_equal(rows, service.calls[0].rows[: len(rows)])


async def test_every_trouble_is_tested() -> None:
    """Every fault of the stand-in appears in a test by name."""
    harmless = {Trouble.NONE, Trouble.JUMPS, Trouble.AWAY_ONCE, Trouble.NO_SOUND, Trouble.OTHER_RATE}
    harmless |= {Trouble.SHORT_GAPS, Trouble.UNKNOWN_WORDS, Trouble.NO_STATUS}
    assert set(Trouble) == harmless | set(FAULTS) | set(FAULTS_MIDWAY)


async def test_service_that_is_away_once_is_called_again() -> None:
    """With all sound from the start."""
    _, performed, service, counters = await performed_against(Trouble.AWAY_ONCE, SPEECH)
    assert not performed.losses
    assert counters["calls"] == 2
    assert bytes(service.calls[1].audio) == performed.audio == SPEECH


async def test_nobody_listens() -> None:
    """No service at the address: this is reported, and the sound continues."""
    service = Audio2FaceService()
    async with against(service, Speaker(SPEECH), target="127.0.0.1:1", timeout_s=5.0) as source:
        performed = await read_all(await source.perform(HELLO))
    assert performed.losses[0].fault.reason is Reason.SOURCE_UNAVAILABLE
    assert performed.audio == SPEECH


@pytest.mark.parametrize("trouble", [Trouble.NO_SOUND, Trouble.OTHER_RATE], ids=lambda trouble: trouble.name)
async def test_our_sound_goes_on_where_the_service_gives_none(trouble: Trouble) -> None:
    """On the same timeline: motion is in time, no sample is lost."""
    service = Audio2FaceService(trouble)
    async with against(service, Speaker(SPEECH)) as source:
        performed = await assert_motion_is_in_time(await source.perform(HELLO))
    assert performed.audio == SPEECH
    assert source.counters["own_sound"] == 1
    np.testing.assert_array_equal(performed.rows(len(NAMES)), service.calls[0].rows)


async def test_short_gaps_are_filled() -> None:
    """Later motion is therefore not early; each keyframe stays at its time."""
    _, performed, service, counters = await performed_against(Trouble.SHORT_GAPS, SPEECH)
    rows, sent = performed.rows(len(NAMES)), service.calls[0].rows
    kept = [index for index in range(len(sent)) if index % 10 not in (4, 5)]
    np.testing.assert_array_equal(rows[kept], [sent[index] for index in kept])
    np.testing.assert_allclose(rows[4], sent[3] + (sent[6] - sent[3]) / 3, atol=1e-6)
    assert counters["keyframes_filled"] == len(rows) - len(kept)


async def test_unknown_words_are_counted() -> None:
    """An event, an empty message, an unknown field and an unknown status, beside an informational message."""
    _, performed, _, counters = await performed_against(Trouble.UNKNOWN_WORDS, SPEECH)
    assert not performed.losses
    assert (counters["unknown_messages"], counters["warnings"]) == (4, 1)


async def test_missing_status_is_counted() -> None:
    """All motion arrived; nothing is lost."""
    _, performed, _, counters = await performed_against(Trouble.NO_STATUS, SPEECH)
    assert not performed.losses
    assert counters["ended_without_status"] == 1


async def test_low_rate_is_raised() -> None:
    """The service requires at least 16 kHz; the played sound is unchanged."""
    service = Audio2FaceService()
    async with against(service, Speaker(noise(1.0, 8_000), 8_000)) as source:
        performance = await source.perform(HELLO)
        performed = await assert_motion_is_in_time(performance)
    assert performance.audio_format.sample_rate_hz == service.calls[0].rate_hz == 16_000
    assert len(performed.audio) == 2 * 16_000
    assert performed.audio == bytes(service.calls[0].audio)


@pytest.mark.parametrize("rate_hz", [22_050, 24_000, 44_100, 48_000])
async def test_other_rates_stay(rate_hz: int) -> None:
    """The sound is identical to the sample."""
    service = Audio2FaceService()
    async with against(service, Speaker(noise(0.7, rate_hz), rate_hz)) as source:
        performed = await assert_motion_is_in_time(await source.perform(HELLO))
    assert performed.audio == noise(0.7, rate_hz) == bytes(service.calls[0].audio)


async def test_long_speech_goes_in_clips() -> None:
    """Each clip is within its limit; motion and sound continue across clip borders, which are not on the keyframe grid."""
    speech = noise(3.35, 22_050)
    service = Audio2FaceService()
    async with against(service, Speaker(speech, 22_050), clip_s=1.25) as source:
        performed = await assert_motion_is_in_time(await source.perform(HELLO))
    assert performed.audio == speech == b"".join(bytes(heard.audio) for heard in service.calls)
    assert [round(len(heard.audio) / 2 / 22_050, 3) for heard in service.calls] == [1.25, 1.25, 0.85]
    starts = np.cumsum([0, *(len(heard.audio) // 2 for heard in service.calls)]) / 22_050
    for heard, start_s, end_s in zip(service.calls, starts, starts[1:], strict=False):
        first, last = round(start_s * 30), round(end_s * 30)
        rows = performed.rows(len(NAMES))[first:last]
        np.testing.assert_array_equal(rows[: len(heard.rows)], heard.rows[: len(rows)])


async def test_chunks_and_clips_are_within_the_limits_of_a_service() -> None:
    """Holds for any size of the speech chunks."""
    service = Audio2FaceService()
    async with against(service, Speaker(noise(30.0)), clip_s=20.0) as source:
        await read_all(await source.perform(HELLO))
    assert max(max(heard.chunk_bytes) for heard in service.calls) <= 2 * RATE_HZ
    assert [len(heard.audio) for heard in service.calls] == [2 * RATE_HZ * 20, 2 * RATE_HZ * 10]


async def test_second_clip_that_fails() -> None:
    """The first clip's motion stays; all of the sound continues."""
    service = Audio2FaceService()
    speech = noise(3.0)
    async with against(service, Speaker(speech), clip_s=1.0) as source:
        performance = await source.perform(HELLO)
        items = []
        async for item in performance.items:
            items.append(item)
            service.trouble = Trouble.UNAUTHENTICATED
    assert [item.fault.reason for item in items if isinstance(item, MotionLost)] == [Reason.SOURCE_REFUSED]
    assert b"".join(item.data for item in items if isinstance(item, AudioChunk)) == speech
    assert sum(len(item.data) for item in items if isinstance(item, MotionChunk)) == 30 * 4 * len(NAMES)


async def test_names_that_change_between_clips() -> None:
    """Motion stops, as column meanings are fixed in a conversation; the service is stopped, the sound continues."""
    service = Audio2FaceService()
    speech = noise(3.0)
    async with against(service, Speaker(speech), clip_s=1.0) as source:
        performance = await source.perform(HELLO)
        items = []
        async for item in performance.items:
            items += [item]
            service.names = NAMES[::-1]
        await service.calls[1].over.wait()
    assert ["names changed" in item.fault.text for item in items if isinstance(item, MotionLost)] == [True]
    assert b"".join(item.data for item in items if isinstance(item, AudioChunk)) == speech


async def test_speech_that_fails_in_a_new_way(caplog: pytest.LogCaptureFixture) -> None:
    """A bug of the speaker is logged and ends the speech with a reason: it does not count as a normal end."""

    async def chunks() -> AsyncIterator[bytes]:
        yield SPEECH
        raise ZeroDivisionError

    async with against(Audio2FaceService(), Speaker(b"")) as source:
        performance = await source.perform(AudioSpeech(AudioFormat(Codec.PCM_S16LE, RATE_HZ), chunks()))
        with pytest.raises(SourceError, match="reading the speech broke off"):
            await read_all(performance)
    assert "ZeroDivisionError" in caplog.text


async def test_emotions_go_with_the_sound() -> None:
    """By their time in the clip; an emotion that lasts is repeated for the next clip, and the header enables them."""
    emotions = (Emotion(0.5, {"joy": 1.0}), Emotion(1.5, {"fear": 0.25, "anger": 0.5}))
    service = Audio2FaceService()
    async with against(service, Speaker(SPEECH), clip_s=1.25, emotions=emotions, emotion_strength=0.75) as source:
        await read_all(await source.perform(HELLO))
    first, second = service.calls
    assert first.emotions == [(0.5, {"joy": 1.0}), (1.5, {"fear": 0.25, "anger": 0.5})]
    assert second.emotions == [(0.0, {"joy": 1.0}), (0.25, {"fear": 0.25, "anger": 0.5})]
    settings = first.header.emotion_post_processing_params
    assert settings.enable_preferred_emotion
    assert settings.emotion_strength == 0.75
    assert not settings.HasField("preferred_emotion_strength")


async def test_performance_that_is_given_up() -> None:
    """Unread or midway: the service call is cancelled, and the speaker is closed."""
    for read in (0, 3):
        service, speaker = Audio2FaceService(Trouble.STALLS_MIDWAY), Speaker(SPEECH)
        async with against(service, speaker, timeout_s=30.0) as source:
            performance = await source.perform(HELLO)
            for _ in range(read):
                await anext(performance.items)
            await close_early(performance.items)
            async with asyncio.timeout(5):
                await service.calls[0].over.wait()
        assert speaker.closed == 1


async def test_performance_that_is_cancelled_while_it_begins() -> None:
    """Nothing is left behind."""
    service, speaker = Audio2FaceService(Trouble.NEVER_ANSWERS), Speaker(SPEECH)
    async with against(service, speaker, timeout_s=30.0) as source:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await source.perform(HELLO)
        async with asyncio.timeout(5):
            await service.calls[0].over.wait()
    assert speaker.closed == 1


async def test_many_at_once() -> None:
    """Each has its own motion."""
    service = Audio2FaceService()
    async with against(service, Speaker(noise(1.0))) as source:
        performances = [await source.perform(HELLO) for _ in range(8)]
        performed = await asyncio.gather(*(read_all(performance) for performance in performances))
    for one, heard in zip(performed, service.calls, strict=True):
        np.testing.assert_array_equal(one.rows(len(NAMES)), heard.rows)


async def test_answers_are_taken_in_while_nobody_reads() -> None:
    """A device in real time, or paused, does not slow down the service, which would drop a slow client."""
    service = Audio2FaceService()
    async with against(service, Speaker(noise(20.0))) as source:
        performance = await source.perform(HELLO)
        async with asyncio.timeout(5):
            await service.calls[0].finished.wait()
        performed = await read_all(performance)
    assert performed.audio == noise(20.0)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
async def test_credentials_go_in_metadata_and_nowhere_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Over TLS only; not in logs, faults or texts, even if the service repeats them."""
    caplog.set_level(logging.DEBUG)
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    service = Audio2FaceService(Trouble.UNAUTHENTICATED, says="nvapi-secret for 0bcd-function")
    async with serving(service, credentials) as target:
        settings = Audio2FaceSettings(
            target=target, tls=True, tls_ca_file=certificate, api_key="nvapi-secret", function_id="0bcd-function", timeout_s=5.0
        )
        source = Audio2FaceSource(settings, text=Speaker(SPEECH), audio=Speaker(SPEECH))
        performed = await read_all(await source.perform(HELLO))
        await source.close()
    assert service.calls[0].metadata["authorization"] == "Bearer nvapi-secret"
    assert service.calls[0].metadata["function-id"] == "0bcd-function"
    assert "no such key … for …" in performed.losses[0].fault.text
    assert "nvapi-secret" not in caplog.text + performed.losses[0].fault.text + repr(settings)
