"""AvatarKit's methods on the device, over the real engine on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from avatar_relay.avatarkit import KEYFRAME_SIZE, AvatarKitMotion
from avatar_relay.avatarkit import write as write_motion
from avatar_relay.media import MotionEncoding, MotionFormat
from avatar_relay.messages import Finished
from avatar_relay.publisher.errors import BufferFullError
from avatar_relay.reasons import Fault, Reason
from edge_client.audio.sink import Pcm
from edge_client.playback.events import PlayerState
from edge_client.player import Player, PlayerCallbacks
from tests.avatar_relay.sound.streams import TAG, flac, wav
from tests.edge_client.playback_bench import JAW, PCM, RATE_HZ, Bench, tone, without_filler


class Rig:
    """A player on a bench, and its callbacks as received."""

    def __init__(self, motion: MotionFormat | None = JAW) -> None:
        self.bench = Bench()
        self.states: list[PlayerState] = []
        self.finished: list[tuple[str, Finished]] = []
        self.faults: list[tuple[str, Fault]] = []
        callbacks = PlayerCallbacks(
            on_state=self.states.append,
            on_finished=lambda conversation_id, finished: self.finished.append((conversation_id, finished)),
            on_error=lambda conversation_id, fault: self.faults.append((conversation_id, fault)),
        )
        self._minted = 0
        self.player = Player(
            self.bench.playback,
            audio_format=PCM,
            motion_format=motion,
            callbacks=callbacks,
            clock_us=lambda: self.bench.now_us,
            random_bytes=self._mint,
        )

    def run(self, duration_us: int) -> None:
        """Advance the time."""
        for _ in range(duration_us // 10_000):
            self.bench.sink.step(self.bench.now_us)
            self.player.tick()
            self.bench.now_us += 10_000

    def _mint(self, count: int) -> bytes:
        self._minted += 1
        return self._minted.to_bytes(count, "big")


def _pcm(samples: Pcm) -> bytes:
    return samples.astype("<i2").tobytes()


def _weights(count: int, value: float = 0.5) -> bytes:
    return np.full(count, value, "<f4").tobytes()


def test_audio_opens_a_conversation_and_end_finishes_it() -> None:
    """Each callback carries the id; the audio is played once."""
    rig = Rig()
    samples = tone(RATE_HZ)
    first = rig.player.yield_audio_data_nowait(_pcm(samples[:30_000]))
    assert rig.player.yield_frames_data_nowait([_weights(25)], first)
    assert rig.player.yield_audio_data_nowait(_pcm(samples[30_000:]), end=True) == first
    rig.run(1_500_000)
    assert rig.bench.sound.tolist() == samples.tolist()
    assert rig.finished == [(first, Finished(1_000_000, False, "completed"))]
    assert rig.states == [PlayerState.BUFFERING, PlayerState.PLAYING, PlayerState.IDLE]


def test_audio_after_end_is_a_new_conversation_that_interrupts() -> None:
    """Audio after the end starts a new conversation with a new id."""
    rig = Rig(motion=None)
    first = rig.player.yield_audio_data_nowait(_pcm(tone(RATE_HZ)), end=True)
    rig.run(200_000)
    second = rig.player.yield_audio_data_nowait(_pcm(tone(4_800, start=99)), end=True)
    rig.run(500_000)
    assert first != second
    assert [(conversation_id, body.reason) for conversation_id, body in rig.finished] == [(first, "replaced"), (second, "completed")]


def test_frames_after_the_end_of_audio_are_taken_until_they_cover_it() -> None:
    """Motion is generated from the sound, so it arrives later; then the conversation is finished."""
    rig = Rig()
    conversation_id = rig.player.yield_audio_data_nowait(_pcm(tone(RATE_HZ)), end=True)
    assert rig.player.yield_frames_data_nowait([_weights(10), _weights(14)], conversation_id)
    assert not rig.player.yield_frames_data_nowait([_weights(1)], conversation_id)
    rig.run(1_500_000)
    assert rig.finished == [(conversation_id, Finished(1_000_000, False, "completed"))]
    assert rig.bench.playback.summary().keyframes_received == 24


def test_last_motion_message_ends_the_conversation() -> None:
    """The last motion message, marked by AvatarKit, ends the conversation."""
    rig = Rig(MotionFormat(MotionEncoding.AVATARKIT_V2))
    conversation_id = rig.player.yield_audio_data_nowait(_pcm(tone(RATE_HZ)), end=True)
    keyframes = np.zeros((3, KEYFRAME_SIZE), np.float32)
    rig.player.yield_frames_data_nowait([write_motion(AvatarKitMotion("", "r", True, "", keyframes))], conversation_id)
    rig.run(1_300_000)
    assert [body.reason for _, body in rig.finished] == ["completed"]


@pytest.mark.parametrize("seconds", [0.1, 1, 2.34])
def test_motion_that_never_comes_does_not_delay_the_end(seconds: float) -> None:
    """The conversation ends with its last sample."""
    rig = Rig()
    frames = round(seconds * RATE_HZ)
    rig.player.yield_audio_data_nowait(_pcm(tone(frames)), end=True)
    rig.run(round(seconds * 1e6) + 300_000)
    assert len(without_filler(rig.bench.played, tone(frames))) == frames
    assert [body.reason for _, body in rig.finished] == ["completed"]


def test_frames_of_another_conversation_are_refused() -> None:
    """Frames are matched to their conversation by id."""
    rig = Rig()
    assert not rig.player.yield_frames_data_nowait([_weights(1)], "someone")
    first = rig.player.yield_audio_data_nowait(_pcm(tone(4_800)))
    rig.player.interrupt()
    assert not rig.player.yield_frames_data_nowait([_weights(1)], first)


def test_empty_frames_make_it_audio_only() -> None:
    """Audio only from then on; the face does not move."""
    rig = Rig()
    conversation_id = rig.player.yield_audio_data_nowait(_pcm(tone(RATE_HZ)))
    assert rig.player.yield_frames_data_nowait([], conversation_id)
    assert rig.player.yield_frames_data_nowait([_weights(25)], conversation_id)
    rig.player.yield_audio_data_nowait(b"", end=True)
    rig.run(1_500_000)
    assert rig.bench.playback.summary().keyframes_received == 0
    assert rig.finished == [(conversation_id, Finished(1_000_000, False, "completed"))]


def test_pause_resume_interrupt_and_audio_time() -> None:
    """The controls act on the latest conversation; the position starts at 0, and does not advance during a pause."""
    rig = Rig(motion=None)
    assert rig.player.audio_time() == 0.0
    conversation_id = rig.player.yield_audio_data_nowait(_pcm(tone(RATE_HZ)), end=True)
    rig.run(300_000)
    rig.player.pause()
    rig.run(100_000)
    assert rig.player.state is PlayerState.PAUSED
    paused_s = rig.player.audio_time()
    assert 0.2 < paused_s < 0.4
    rig.run(500_000)
    assert rig.player.audio_time() == paused_s
    rig.player.resume()
    rig.run(100_000)
    assert rig.player.audio_time() > paused_s
    rig.player.interrupt()
    rig.run(100_000)
    assert [(one, body.interrupted) for one, body in rig.finished] == [(conversation_id, True)]
    assert rig.player.audio_time() == 0.0


def test_volume_is_checked() -> None:
    """Volume has to be in the range 0 to 1."""
    rig = Rig()
    rig.player.set_volume(0.25)
    assert rig.player.volume == 0.25
    with pytest.raises(ValueError, match="0 to 1"):
        rig.player.set_volume(1.5)


def test_no_audio_at_all_is_refused() -> None:
    """A conversation without audio is refused: it begins with sound."""
    rig = Rig()
    for end in (False, True):
        with pytest.raises(ValueError, match="begins with sound"):
            rig.player.yield_audio_data_nowait(b"", end=end)


def test_damaged_frames_are_told() -> None:
    """Damaged frames are reported; the sound continues."""
    rig = Rig()
    conversation_id = rig.player.yield_audio_data_nowait(_pcm(tone(RATE_HZ)))
    assert rig.player.yield_frames_data_nowait([b"123"], conversation_id)
    rig.run(500_000)
    assert [(one, fault.reason) for one, fault in rig.faults] == [(conversation_id, Reason.MOTION_UNDECODABLE)]
    assert rig.player.state is PlayerState.PLAYING


def test_nowait_refuses_what_does_not_fit_and_takes_nothing() -> None:
    """Space is freed as sound is decoded."""
    rig = Rig(motion=None)
    minute = bytes(2 * RATE_HZ * 60)
    with pytest.raises(BufferFullError):
        rig.player.yield_audio_data_nowait(minute)
    assert rig.player.state is PlayerState.IDLE
    with pytest.raises(ValueError, match="2097152"):
        rig.player.yield_frames_data_nowait([bytes((2 << 20) + 1)], "someone")


async def test_verbs_wait_for_room_and_nothing_is_lost() -> None:
    """Far more than the buffer holds is accepted as it is played."""
    rig = Rig(motion=None)
    samples = tone(RATE_HZ * 30)
    feeding = asyncio.create_task(rig.player.yield_audio_data(_pcm(samples), end=True))
    waited = 0
    while not rig.finished:
        rig.run(100_000)
        waited += not feeding.done()
        await asyncio.sleep(0)
    assert waited > 50
    assert rig.finished == [(await feeding, Finished(30_000_000, False, "completed"))]
    assert np.array_equal(rig.bench.sound, samples)
    assert rig.bench.playback.summary().underruns == 0


async def test_interrupt_ends_the_wait_for_room() -> None:
    """The rest of the sound is dropped, and the next sound has the whole buffer."""
    rig = Rig(motion=None)
    feeding = asyncio.create_task(rig.player.yield_audio_data(_pcm(tone(RATE_HZ * 60)), end=True))
    await asyncio.sleep(0)
    rig.run(100_000)
    rig.player.interrupt()
    first = await feeding
    rig.run(2_000_000)
    second = rig.player.yield_audio_data_nowait(_pcm(tone(RATE_HZ * 20)), end=True)
    rig.run(20_100_000)
    assert [(one, body.interrupted) for one, body in rig.finished] == [(first, True), (second, False)]


def test_half_a_sample_at_the_end_is_reported() -> None:
    """Half a sample cannot be played; the sound before it is."""
    rig = Rig(motion=None)
    conversation_id = rig.player.yield_audio_data_nowait(_pcm(tone(4_800)) + b"x", end=True)
    assert [(one, fault.reason) for one, fault in rig.faults] == [(conversation_id, Reason.AUDIO_IRREGULAR)]
    rig.run(500_000)
    assert len(rig.bench.sound) == 4_800


def test_sound_that_is_not_what_was_declared() -> None:
    """A container is refused by the call, a WAV header is stripped; later audio is not affected."""
    rig = Rig(motion=None)
    with pytest.raises(ValueError, match="FLAC"):
        rig.player.yield_audio_data_nowait(flac())
    samples = tone(4_800)
    rig.player.yield_audio_data_nowait(wav(_pcm(samples), rate_hz=RATE_HZ, after=TAG), end=True)
    rig.run(500_000)
    assert rig.bench.sound.tolist() == samples.tolist()
    assert rig.faults == []


async def test_run_keeps_it_going_until_cancelled() -> None:
    """`run` advances playback by itself, in real time."""
    rig = Rig(motion=None)
    running = asyncio.create_task(rig.player.run())
    conversation_id = await rig.player.yield_audio_data(_pcm(tone(4_800)), end=True)
    assert not await rig.player.yield_frames_data([_weights(1)], conversation_id)
    await asyncio.sleep(0.03)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert rig.states == [PlayerState.BUFFERING]


WRONG: list[tuple[Callable[[Player], object], str]] = [
    (lambda player: player.yield_audio_data_nowait("ab"), "data must be bytes"),  # type: ignore[arg-type]
    (lambda player: player.yield_audio_data_nowait(np.zeros(2, np.int16)), "pass its .tobytes"),  # type: ignore[arg-type]
    (lambda player: player.yield_audio_data_nowait(b"", end=1), "end must be True or False"),  # type: ignore[arg-type]
    (lambda player: player.yield_frames_data_nowait(b"1234", "c"), r"pass \[payload\]"),  # type: ignore[arg-type]
    (lambda player: player.yield_frames_data_nowait([None], "c"), r"frames\[0\] must be bytes"),  # type: ignore[list-item]
    (lambda player: player.yield_frames_data_nowait([], None), "conversation_id must be a str"),  # type: ignore[arg-type]
    (lambda player: player.set_volume(True), "gain must be a number"),
    (lambda player: player.set_volume("0.5"), "gain must be a number"),  # type: ignore[arg-type]
    (lambda player: player.set_volume(float("nan")), "0 to 1"),
    (lambda player: player.set_volume(0.5, muted=0), "muted must be True or False"),  # type: ignore[arg-type]
    (lambda player: PlayerCallbacks(on_state=3), "on_state must be a function"),  # type: ignore[arg-type]
    (lambda player: Player(player._playback, audio_format="pcm"), "audio_format must be an AudioFormat"),  # type: ignore[arg-type]
    (lambda player: Player(player._playback, audio_format=PCM, motion_format=PCM), "motion_format must be"),  # type: ignore[arg-type]
    (lambda player: Player(player._playback, audio_format=PCM, pacing="live"), r"pacing must be a Pacing"),  # type: ignore[arg-type]
    (lambda player: Player(None, audio_format=PCM), "playback must be a Playback"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "text"), WRONG)
async def test_wrong_calls_raise_and_take_nothing(call: Callable[[Player], object], text: str) -> None:
    """The playing conversation and the player are not affected."""
    rig = Rig(motion=None)
    samples = tone(4_800)
    conversation_id = rig.player.yield_audio_data_nowait(bytearray(_pcm(samples[:2_400])))
    with pytest.raises((TypeError, ValueError), match=text):
        call(rig.player)
    with pytest.raises(TypeError, match="data must be"):
        await rig.player.yield_audio_data(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="without a motion_format"):
        await rig.player.yield_frames_data([_weights(1)], conversation_id)
    rig.player.yield_audio_data_nowait(memoryview(_pcm(samples[2_400:])), end=True)
    rig.run(500_000)
    assert rig.bench.sound.tolist() == samples.tolist()
    assert rig.finished == [(conversation_id, Finished(100_000, False, "completed"))]


def test_callbacks_that_raise_stop_nothing() -> None:
    """Far more than the buffer holds: credit returned during a failing callback is not lost."""
    rig = Rig(motion=None)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    rig.player = Player(
        rig.bench.playback,
        audio_format=PCM,
        callbacks=PlayerCallbacks(on_state=fail, on_finished=fail, on_error=fail),
        clock_us=lambda: rig.bench.now_us,
    )
    for _ in range(3):
        rig.player.yield_audio_data_nowait(_pcm(tone(4_800)), end=True)
        rig.run(500_000)
    assert rig.player.state is PlayerState.IDLE
    assert len(rig.bench.sound) == 3 * 4_800
