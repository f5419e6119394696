"""The twelve rules of a conversation, on the device's side. Each case names its rule.

A case feeds the engine on virtual time and states the expected output; the sound is compared sample for sample.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from avatar_relay.limits import MAX_CLOSED_CONVERSATIONS
from avatar_relay.media import Kind, OnPlaying, Pacing
from avatar_relay.messages import (
    AudioOnly,
    ConversationEnd,
    Dropped,
    DurationMismatch,
    Finished,
    Interrupt,
    Media,
    Pause,
    Paused,
    Resume,
    Resumed,
    Stalled,
    Started,
)
from avatar_relay.reasons import Reason
from edge_client.choices import FrameStarvation
from edge_client.motion.mouth_source import MouthSource
from edge_client.playback.events import PlaybackConfig, PlayerState
from edge_client.playback.live_delay import MAX_BUFFER_US
from tests.edge_client.playback_bench import JAW, RATE_HZ, Bench, audio_payloads, motion_payload, open_, spoken, tone, without_filler

Case = Callable[[], None]

SECOND = tone(RATE_HZ)


def rule_1_replace_interrupts_what_plays() -> None:
    """`open` with REPLACE during playback: the playing conversation is interrupted, the new one is played from its first sample."""
    bench = Bench()
    bench.handle(open_("a"), *spoken("a", SECOND))
    bench.run(300_000)
    bench.handle(open_("b"), *spoken("b", tone(24_000, start=100_000)))
    bench.run(1_000_000)
    (finished,) = bench.finished("a")
    assert finished.interrupted
    assert finished.reason == "replaced"
    assert bench.sound[-24_000:].tolist() == tone(24_000, start=100_000).tolist()
    assert bench.finished("b") == [Finished(500_000, False, "completed")]


def rule_1_queue_follows_gaplessly() -> None:
    """`open` with QUEUE during playback: the samples follow each other without silence in between."""
    bench = Bench()
    second = tone(24_000, start=100_000)
    bench.handle(open_("a"), *spoken("a", SECOND), open_("b", on_playing=OnPlaying.QUEUE), *spoken("b", second))
    bench.run(2_000_000)
    played = bench.played
    first = int(np.flatnonzero(played)[0])
    assert played[first : first + 72_000].tolist() == [*SECOND.tolist(), *second.tolist()]
    assert [type(body) for body in bench.events()] == [Started, Finished, Started, Finished]
    assert bench.playback.summary().underruns == 0


def rule_1_opening_again_changes_nothing() -> None:
    """`open` is replayed when a session resumes: the conversation continues."""
    bench = Bench()
    bench.handle(open_("a"), *spoken("a", SECOND))
    bench.run(300_000)
    bench.handle(open_("a"))
    bench.run(1_000_000)
    assert bench.sound.tolist() == SECOND.tolist()
    assert bench.finished("a") == [Finished(1_000_000, False, "completed")]


def rule_1_opening_a_closed_id_is_refused() -> None:
    """An id is used for one conversation only."""
    bench = Bench()
    bench.handle(open_("a"), Interrupt("a"), open_("a"))
    bench.run(100_000)
    assert bench.reasons("a") == [Reason.CONVERSATION_CLOSED]
    assert len(bench.finished("a")) == 1


def rule_2_media_of_a_closed_id_is_dropped_counted_and_told() -> None:
    """Media received for an interrupted conversation is not played or shown, and is reported in one event."""
    bench = Bench()
    bench.handle(open_("a"), *spoken("a", SECOND, end=False))
    bench.run(100_000)
    bench.handle(Interrupt("a"))
    bench.run(100_000)
    silent_from = len(bench.played)
    bench.handle(Media("a", audio_payloads(SECOND, first_seq=51)), Media("a", (motion_payload([1.0], seq=2, first_keyframe=25),)))
    bench.run(500_000)
    assert bench.dropped("a") == {(Kind.AUDIO, "conversation_closed"): 50, (Kind.MOTION, "conversation_closed"): 1}
    assert not bench.played[silent_from:].any()
    assert bench.playback.summary().dropped_payloads == 51


def rule_2_the_last_1024_closed_ids_are_remembered() -> None:
    """Exactly the last 1,024 closed ids are remembered."""
    bench = Bench()
    for number in range(MAX_CLOSED_CONVERSATIONS + 1):
        bench.handle(open_(f"c{number}"))
    bench.handle(open_("last"), open_("c1"), open_("c0"))
    bench.run(20_000)
    assert bench.reasons("c1") == [Reason.CONVERSATION_CLOSED]
    assert bench.reasons("c0") == []


def rule_2_a_never_seen_id_is_held_until_it_is_opened() -> None:
    """Media, including `end`, may arrive before its `open`."""
    bench = Bench()
    bench.handle(*spoken("a", SECOND))
    bench.run(1_000_000)
    bench.handle(open_("a"))
    bench.run(1_200_000)
    assert bench.sound.tolist() == SECOND.tolist()
    assert bench.finished("a") == [Finished(1_000_000, False, "completed")]


def rule_2_a_never_seen_id_is_dropped_after_five_seconds() -> None:
    """The drop is reported; if opened later, the conversation begins without the dropped media."""
    bench = Bench()
    bench.handle(Media("a", audio_payloads(SECOND)))
    bench.run(4_980_000)
    assert bench.dropped("a") == {}
    bench.run(300_000)
    assert bench.dropped("a") == {(Kind.AUDIO, "conversation_unknown"): 50}


def rule_2_a_never_seen_id_is_held_up_to_two_mebibytes() -> None:
    """Media beyond the bound is dropped and reported."""
    bench = Bench()
    megabyte = audio_payloads(tone(2))[0]._replace(data=bytes(1 << 20))
    bench.handle(Media("a", (megabyte,)), Media("a", (megabyte._replace(seq=2),)))
    bench.run(300_000)
    assert bench.dropped("a") == {(Kind.AUDIO, "conversation_unknown"): 1}


def rule_3_audio_only_is_final() -> None:
    """Later motion is ignored and counted; all sound is played. Sound analysis is off, so that only motion moves the face."""
    bench = Bench(config=PlaybackConfig(mouth_source=MouthSource.PAYLOAD))
    bench.handle(open_("a"), AudioOnly("a"), *spoken("a", SECOND))
    bench.run(1_300_000)
    assert bench.dropped("a") == {(Kind.MOTION, "audio_only"): 1}
    assert bench.sound.tolist() == SECOND.tolist()
    assert all(view.motion is None for _, view in bench.views)


def rule_3_motion_of_a_conversation_without_a_format_is_dropped() -> None:
    """Audio only from the beginning."""
    bench = Bench()
    bench.handle(open_("a", motion=None), *spoken("a", SECOND))
    bench.run(1_300_000)
    assert bench.dropped("a") == {(Kind.MOTION, "no_motion_format"): 1}
    assert bench.finished("a") == [Finished(1_000_000, False, "completed")]


def rule_4_an_interrupt_names_an_id() -> None:
    """Interrupting a queued conversation does not affect the playing one, except for a short fade."""
    bench = Bench()
    bench.handle(open_("a"), *spoken("a", SECOND))
    bench.handle(open_("b", on_playing=OnPlaying.QUEUE), *spoken("b", tone(24_000, start=100_000)))
    bench.run(300_000)
    bench.handle(Interrupt("b"))
    bench.run(1_500_000)
    assert bench.finished("b") == [Finished(0, True, "interrupted")]
    assert bench.finished("a") == [Finished(1_000_000, False, "completed")]
    assert bench.sound.tolist() == SECOND.tolist()


def rule_5_finished_when_all_audio_was_heard() -> None:
    """The finished event is sent with the last sample, not when `end` is sent."""
    bench = Bench()
    bench.handle(open_("a"), *spoken("a", SECOND))
    bench.run(2_000_000)
    first = int(np.flatnonzero(bench.played)[0]) * 1_000_000 // RATE_HZ
    ((told_us, _),) = [(time_us, output) for time_us, output in bench.outputs if getattr(output, "body", None) in bench.finished("a")]
    assert 0 <= told_us - 1_000_000 - first - 1_000_000 <= 20_000


def rule_5_motion_beyond_the_audio_is_cut_with_the_transition() -> None:
    """The face is at rest again within the transition time of 0.8 s."""
    bench = Bench()
    bench.handle(open_("a"), *spoken("a", tone(24_000), weights=[1.0] * 100))
    bench.run(2_000_000)
    weights = [view.motion_weight for time_us, view in bench.views if time_us > 1_000_000 + 550_000]
    assert weights[0] > 0.9
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] == 0.0


def rule_5_an_end_without_audio_is_an_error() -> None:
    """The conversation finishes as failed, and does not hang."""
    bench = Bench()
    bench.handle(open_("a"), Media("a", (motion_payload([1.0]),)), ConversationEnd("a", 0, 1))
    bench.run(100_000)
    assert bench.reasons("a") == [Reason.NO_AUDIO]
    assert bench.finished("a") == [Finished(0, False, "failed")]


def rule_5_what_never_arrives_does_not_hang_the_face() -> None:
    """The last payloads counted by `end` are missing: after 5 s playout continues without them."""
    bench = Bench()
    bench.handle(open_("a", motion=None), Media("a", audio_payloads(SECOND)), ConversationEnd("a", 60, 0))
    bench.run(7_000_000)
    assert bench.reasons("a") == [Reason.SEQUENCE_GAP]
    assert bench.finished("a") == [Finished(1_000_000, False, "completed")]


def rule_6_interrupt_clears_fades_and_closes() -> None:
    """Silent within 20 ms, without a step, and permanently."""
    bench = Bench()
    bench.handle(open_("a"), *spoken("a", np.full(RATE_HZ, 10_000, np.int16)))
    bench.run(300_000)
    bench.handle(Interrupt("a"))
    before = len(bench.played)
    bench.run(1_000_000)
    assert not bench.played[before + 960 :].any()
    assert np.abs(np.diff(bench.played[before - 100 :].astype(int))).max() <= 10_000 / 480 + 1
    assert bench.playback.state is PlayerState.IDLE


def rule_6_pause_keeps_everything() -> None:
    """After resume, sound continues with the next sample, and motion with the same PTS."""
    bench = Bench()
    bench.handle(open_("a"), *spoken("a", SECOND))
    bench.run(300_000)
    bench.handle(Pause("a"))
    bench.run(2_000_000)
    assert bench.playback.state is PlayerState.PAUSED
    held = {view.audible_pts_us for _, view in bench.views[-100:]}
    assert len(held) == 1
    bench.handle(Resume("a"))
    bench.run(1_000_000)
    sound = bench.sound
    assert abs(len(sound) - RATE_HZ) <= 4
    assert sound[-30_000:].tolist() == SECOND[-30_000:].tolist()
    kinds = [type(body) for body in bench.events("a")]
    assert kinds == [Started, Paused, Resumed, Finished]
    assert bench.playback.summary().underruns == 0


def rule_6_interrupt_while_paused_gives_the_device_back() -> None:
    """The next conversation is played from its first sample, at full gain."""
    bench = Bench()
    bench.handle(open_("a"), *spoken("a", SECOND))
    bench.run(300_000)
    bench.handle(Pause("a"))
    bench.run(100_000)
    bench.handle(Interrupt("a"), open_("b"), *spoken("b", tone(4_800, start=100_000)))
    bench.run(300_000)
    assert bench.sound[-4_800:].tolist() == tone(4_800, start=100_000).tolist()


def rule_7_audio_independent_goes_on_and_the_face_holds_then_catches_up() -> None:
    """Motion is late: no sample is lost; the pose is held, reported, then live again. If sound is analysed, the mouth follows it."""
    bench = Bench(config=PlaybackConfig(mouth_source=MouthSource.PAYLOAD))
    rising = [index / 25 for index in range(25)]
    bench.handle(open_("a"), Media("a", (motion_payload(rising[:5]),)), Media("a", audio_payloads(SECOND)))
    bench.run(600_000)
    _, held = bench.views[-1]
    assert held.shown_pts_us == 160_000
    assert held.audible_pts_us is not None
    assert held.audible_pts_us > 500_000
    bench.handle(Media("a", (motion_payload(rising[5:], seq=2, first_keyframe=5),)), ConversationEnd("a", 50, 2))
    bench.run(200_000)
    _, live = bench.views[-1]
    assert live.shown_pts_us == live.audible_pts_us
    assert live.motion is not None
    assert live.audible_pts_us is not None
    assert live.motion.max() == pytest.approx(live.audible_pts_us / 1e6, abs=0.001)
    bench.run(500_000)
    assert bench.sound.tolist() == SECOND.tolist()
    stalls = [body for body in bench.events("a") if isinstance(body, Stalled)]
    assert stalls == [Stalled(True, Kind.MOTION), Stalled(False, Kind.MOTION)]


def rule_7_strict_sync_waits_for_motion_and_goes_on_with_it() -> None:
    """Sound does not advance beyond the motion received, and no sample is lost."""
    bench = Bench(config=PlaybackConfig(frame_starvation=FrameStarvation.STRICT_SYNC))
    bench.handle(open_("a"), Media("a", (motion_payload([0.5] * 10),)), Media("a", audio_payloads(SECOND)))
    bench.run(1_500_000)
    assert bench.views[-1][1].audible_pts_us == 400_000
    assert bench.playback.state is PlayerState.STALLED
    bench.handle(Media("a", (motion_payload([0.5] * 15, seq=2, first_keyframe=10),)), ConversationEnd("a", 50, 2))
    bench.run(1_000_000)
    assert without_filler(bench.played, SECOND).tolist() == SECOND.tolist()
    stalls = [body for body in bench.events("a") if isinstance(body, Stalled)]
    assert stalls == [Stalled(True, Kind.MOTION), Stalled(False, Kind.MOTION)]
    assert bench.playback.summary().underruns == 0


def rule_7_strict_sync_waits_five_seconds_at_most() -> None:
    """Motion that never arrives does not silence a conversation permanently."""
    bench = Bench(config=PlaybackConfig(frame_starvation=FrameStarvation.STRICT_SYNC))
    bench.handle(open_("a"), Media("a", audio_payloads(SECOND)))
    bench.run(4_900_000)
    assert len(bench.sound) == 0
    bench.run(1_500_000)
    assert without_filler(bench.played, SECOND).tolist() == SECOND.tolist()


def rule_8_burst_loses_nothing_when_audio_is_late() -> None:
    """Playout waits and shifts: one reported stall, and every sample once, with at most 65 ms of filler in between."""
    bench = Bench()
    payloads = audio_payloads(SECOND)
    bench.handle(open_("a", motion=None), Media("a", payloads[:20]))
    bench.run(1_400_000)
    assert bench.playback.state is PlayerState.STALLED
    bench.handle(Media("a", payloads[20:]), ConversationEnd("a", 50, 0))
    bench.run(1_000_000)
    assert without_filler(bench.played, SECOND).tolist() == SECOND.tolist()
    assert len(bench.sound) - RATE_HZ <= 65 * RATE_HZ // 1_000
    stalls = [body for body in bench.events("a") if isinstance(body, Stalled)]
    assert stalls == [Stalled(True, Kind.AUDIO), Stalled(False, Kind.AUDIO)]
    assert bench.playback.summary().underruns == 1
    assert bench.finished("a") == [Finished(1_000_000, False, "completed")]


def rule_8_burst_puts_payloads_into_order() -> None:
    """Reordered and duplicate payloads produce the same sound; duplicates are counted."""
    bench = Bench()
    payloads = audio_payloads(SECOND)
    bench.handle(open_("a", motion=None), Media("a", payloads[:1] + payloads[1:][::-1] + payloads[5:6]), ConversationEnd("a", 50, 0))
    bench.run(1_300_000)
    assert bench.sound.tolist() == SECOND.tolist()
    assert bench.dropped("a") == {(Kind.AUDIO, "duplicate"): 1}


def rule_8_live_skips_what_is_late() -> None:
    """A stall adds no delay beyond the target: the excess sound is skipped, and counted."""
    bench = Bench()
    payloads = audio_payloads(tone(3 * RATE_HZ))
    bench.handle(open_("a", motion=None, pacing=Pacing.LIVE), Media("a", payloads[:3]))
    for index in range(3, 150):
        if not 20 <= index < 70:
            bench.handle(Media("a", payloads[20 : index + 1] if index == 70 else payloads[index : index + 1]))
        bench.run(20_000)
    bench.handle(ConversationEnd("a", 150, 0))
    bench.run(700_000)
    skipped = round(sum(body.bytes for body in bench.events("a") if isinstance(body, Dropped)) / 2 / RATE_HZ, 3)
    assert 0.6 <= skipped <= 0.75
    assert bench.playback.summary().late_payloads == pytest.approx(skipped / 0.02, abs=1.5)
    delays = [time_us - view.audible_pts_us for time_us, view in bench.views if view.audible_pts_us and view.state is PlayerState.PLAYING]
    assert 300_000 <= delays[-1] - delays[5] <= MAX_BUFFER_US
    assert len(bench.finished("a")) == 1


def rule_8_live_gives_up_what_is_missing() -> None:
    """A payload that does not arrive in time is concealed, not waited for; when it arrives it counts as late."""
    bench = Bench()
    payloads = audio_payloads(SECOND)
    bench.handle(open_("a", motion=None, pacing=Pacing.LIVE))
    for payload in payloads:
        if payload.seq == 30:
            bench.handle(Media("a", payloads[10:11]))
        if payload.seq != 11:
            bench.handle(Media("a", (payload,)))
        bench.run(20_000)
    bench.handle(ConversationEnd("a", 50, 0))
    bench.run(300_000)
    assert bench.dropped("a") == {(Kind.AUDIO, "late"): 1}
    first, last = (int(np.flatnonzero(bench.played)[index]) for index in (0, -1))
    assert abs(last - first + 1 - RATE_HZ) <= 4
    assert bench.played[first : first + 9_600].tolist() == SECOND[:9_600].tolist()
    assert np.count_nonzero(bench.played[first + 9_600 : first + 10_560]) > 900
    assert bench.played[first + 10_560 : first + 24_000].tolist() == SECOND[10_560:24_000].tolist()
    assert bench.finished("a") == [Finished(1_000_000, False, "completed")]


def rule_8_live_owes_nothing_for_a_pause() -> None:
    """Media received during a pause is kept, even if sound was missing when the pause began: none of it is skipped."""
    bench = Bench()
    payloads = audio_payloads(tone(2 * RATE_HZ))
    bench.handle(open_("a", motion=None, pacing=Pacing.LIVE))
    for index, payload in enumerate(payloads):
        if index == 20:
            bench.run(100_000)
            bench.handle(Pause("a"))
        bench.handle(Media("a", (payload,)))
        bench.run(20_000)
    bench.handle(Resume("a"), ConversationEnd("a", 100, 0))
    bench.run(2_000_000)
    skipped_us = sum(body.bytes for body in bench.events("a") if isinstance(body, Dropped)) / 2 / RATE_HZ * 1e6
    assert skipped_us <= 165_000
    assert bench.finished("a") == [Finished(2_000_000, False, "completed")]


def rule_9_finished_tells_the_last_sample_heard() -> None:
    """The position of an interrupt is the PTS of the last sample that the device emitted above gain 0."""
    bench = Bench()
    bench.handle(open_("a"), *spoken("a", np.full(RATE_HZ, 10_000, np.int16)))
    bench.run(370_000)
    bench.handle(Interrupt("a"))
    bench.run(500_000)
    (finished,) = bench.finished("a")
    heard_us = np.count_nonzero(bench.played) * 1e6 / RATE_HZ
    assert finished.interrupted
    assert abs(finished.position_us - heard_us) <= 100


def rule_9_there_is_one_finished_however_often_it_is_interrupted() -> None:
    """An interrupt after the end changes nothing."""
    bench = Bench()
    bench.handle(open_("a"), *spoken("a", tone(4_800)))
    bench.run(400_000)
    bench.handle(Interrupt("a"), Interrupt("a"))
    bench.run(300_000)
    assert bench.finished("a") == [Finished(100_000, False, "completed")]


def rule_10_lengths_that_disagree_are_told() -> None:
    """A wrong sample rate shows as motion of a different length."""
    bench = Bench()
    bench.handle(open_("a"), *spoken("a", SECOND, weights=[0.0] * 50))
    bench.run(1_300_000)
    assert DurationMismatch(1_000_000, 2_000_000) in bench.events("a")


def rule_10_a_keyframe_more_or_less_is_no_mismatch() -> None:
    """20.3 s of speech have 507 keyframes."""
    bench = Bench()
    bench.handle(open_("a"), *spoken("a", tone(RATE_HZ + 960), weights=[0.0] * 25))
    bench.run(1_300_000)
    assert not any(isinstance(body, DurationMismatch) for body in bench.events("a"))


def rule_11_a_joiner_hears_the_next_conversation() -> None:
    """Media of conversations opened before this device connected is not played, and does not disturb the next conversation."""
    bench = Bench()
    bench.handle(Media("before", audio_payloads(SECOND, first_seq=51)), ConversationEnd("before", 100, 0))
    bench.handle(open_("a"), *spoken("a", SECOND))
    bench.run(6_000_000)
    assert bench.sound.tolist() == SECOND.tolist()
    assert bench.dropped("before") == {(Kind.AUDIO, "conversation_unknown"): 50}


def rule_12_motion_that_can_not_be_decoded_costs_only_itself() -> None:
    """The damaged payload is dropped and reported; all sound is played, and the remaining motion moves the face."""
    bench = Bench()
    damaged = motion_payload([0.0] * 5)._replace(data=b"\x00\x00\xc0\x7f" * 5)
    rest = motion_payload([0.5] * 20, seq=2, first_keyframe=5)
    bench.handle(open_("a"), Media("a", (damaged, rest)), Media("a", audio_payloads(SECOND)), ConversationEnd("a", 50, 2))
    bench.run(700_000)
    _, view = bench.views[-1]
    assert view.motion is not None
    assert view.motion.max() == pytest.approx(0.5)
    bench.run(600_000)
    assert bench.reasons("a") == [Reason.MOTION_UNDECODABLE]
    assert bench.dropped("a") == {(Kind.MOTION, "undecodable"): 1}
    assert bench.sound.tolist() == SECOND.tolist()
    assert not any(isinstance(body, DurationMismatch) for body in bench.events("a"))


RULES: list[Case] = [case for name, case in sorted(globals().items()) if name.startswith("rule_")]


@pytest.mark.parametrize("case", RULES, ids=lambda case: case.__name__)
def test_rule(case: Case) -> None:
    """Each rule of a conversation holds on the device."""
    case()


def test_every_rule_has_a_case() -> None:
    """Rules 1 to 12 each have a case."""
    assert {int(case.__name__.split("_")[1]) for case in RULES} == set(range(1, 13))
    assert JAW.keyframes_per_second == 25.0
