"""A slice of the simulations; `scripts/simulate` runs them at full length."""

from __future__ import annotations

import numpy as np
import pytest

from avatar_relay.media import OnPlaying
from avatar_relay.messages import ConversationEnd, Finished, Interrupt, Media
from edge_client.playback.events import ConversationEvent
from edge_client.playback.release import SKIP_FROM_US
from tests.edge_client.playback_bench import audio_payloads, noise, open_
from tests.edge_client.simulation.live import run_live
from tests.edge_client.simulation.network import CALM, ROUGH, Network
from tests.edge_client.simulation.recorded import speech
from tests.edge_client.simulation.schedules import judge, judge_sound
from tests.edge_client.simulation.splices import FORMATS, sine, splice
from tests.edge_client.simulation.world import PlainCard, World


@pytest.mark.parametrize("ppm", [500.0, -500.0])
def test_a_card_that_drifts_is_followed(ppm: float) -> None:
    """A minute at the largest drift, 30 ms apart by then: no gap, nothing skipped, no step, and the delay stays the same."""
    figures = run_live(CALM, minutes=1, ppm=ppm)
    assert figures.gaps_by_minute == (0,)
    assert figures.skipped_payloads == 0
    assert figures.delay_max_ms - figures.delay_min_ms < 20
    assert figures.largest_step_dbfs < -40
    assert figures.pts_is_monotone
    assert figures.finished == 1


def test_jitter_is_borne_after_the_first_minute() -> None:
    """50 ± 40 ms, each hundredth payload 200 ms later still, and drift: at most one gap, and the delay is no more than needed."""
    figures = run_live(ROUGH, minutes=2, ppm=200, seed=1)
    assert figures.gaps_after_first_minute <= 1
    assert figures.delay_max_ms < 400
    assert figures.largest_step_dbfs < -40
    assert figures.finished == 1


def test_a_way_that_does_not_keep_order_is_put_right() -> None:
    """Payloads overtake each other by up to 80 ms: they are played in order, without a step."""
    figures = run_live(Network(jitter_us=40_000, keeps_order=False), minutes=1.5, seed=3)
    assert figures.gaps_after_first_minute == 0
    assert figures.largest_step_dbfs < -40
    assert figures.pts_is_monotone


def test_a_stall_is_one_gap() -> None:
    """Nothing arrives for a second: sound is back with the data, late sound is skipped, and the delay stays within its bounds."""
    figures = run_live(Network(stalls=((20_000_000, 1_000_000),)), minutes=1)
    assert sum(figures.gaps_by_minute) == 1
    assert 25 <= figures.skipped_payloads <= 50
    assert figures.delay_last_ms < 550
    assert figures.largest_step_dbfs < -40


def test_a_card_that_stands_is_caught_up_with() -> None:
    """The restart of a driver takes 1.5 s: as much sound is skipped, and the delay is the same as before."""
    figures = run_live(CALM, minutes=1, xruns=((15_000_000, 1_500_000),))
    assert figures.skipped_payloads == pytest.approx(75, abs=4)
    assert figures.delay_last_ms == pytest.approx(figures.delay_first_ms, abs=SKIP_FROM_US / 1_000)
    assert figures.largest_step_dbfs < -40
    assert figures.pts_is_monotone


def test_the_same_seed_makes_the_same_figures() -> None:
    """So that findings can be reproduced."""
    assert run_live(ROUGH, minutes=0.2, ppm=100, seed=7) == run_live(ROUGH, minutes=0.2, ppm=100, seed=7)
    assert judge(7) == judge(7)


@pytest.mark.parametrize("seed", range(0, 15, 5))
def test_random_schedules_are_as_the_model_says(seed: int) -> None:
    """Interrupts, pauses, queues and broken links: no stale, lost or duplicate sound, increasing PTS, one finished event for each."""
    for number in range(seed, seed + 5):
        assert judge(number).faults == ()


def test_the_model_sees_what_is_lost_and_stale() -> None:
    """The model must detect errors, or its silence proves nothing."""
    signals = {"a": noise(4_800), "b": noise(4_800, start=15_000)}
    told = [("a", Finished(100_000, False, "completed")), ("b", Finished(100_000, False, "completed"))]
    whole = np.concatenate((signals["a"], signals["b"]))
    faults: list[str] = []
    assert judge_sound(signals, told, whole, faults) == 9_600
    assert faults == []
    judge_sound(signals, told, np.delete(whole, 2_000), faults)
    assert faults
    stale: list[str] = []
    judge_sound(signals, told, np.concatenate((signals["a"][:2_000], signals["b"][960:1_200], signals["a"][2_000:], signals["b"])), stale)
    assert stale == ["b is heard while a plays"]


@pytest.mark.parametrize(
    ("interrupted", "expected"), [("b", [("b", "interrupted"), ("a", "completed")]), ("ab", [("a", "interrupted"), ("b", "interrupted")])]
)
def test_what_the_card_has_of_a_queued_conversation_is_heard(interrupted: str, expected: list[tuple[str, str]]) -> None:
    """Its first samples follow the last ones of the conversation before it in one block. If it is interrupted, its end is known at once."""
    card, signals = PlainCard(), {"a": noise(4_080), "b": noise(4_800, start=15_000)}
    world = World(card)
    for conversation_id, signal in signals.items():
        payloads = audio_payloads(signal)
        world.playback.handle(open_(conversation_id, on_playing=OnPlaying.QUEUE, motion=None), 0)
        world.playback.handle(Media(conversation_id, payloads), 0)
        world.playback.handle(ConversationEnd(conversation_id, len(payloads), 0), 0)
    while not card.heard or signals["b"][0] not in card.heard[-1]:
        world.run(world.now_us + 1_000)
    for conversation_id in interrupted:
        world.playback.handle(Interrupt(conversation_id), world.now_us)
    world.run(world.now_us + 100_000)
    told = [(output.conversation_id, output.body) for _, output in world.outputs if isinstance(output, ConversationEvent)]
    ends = [(conversation_id, body) for conversation_id, body in told if isinstance(body, Finished)]
    assert [(conversation_id, body.reason) for conversation_id, body in ends] == expected
    faults: list[str] = []
    heard = judge_sound(signals, sorted(ends), np.concatenate(card.heard), faults)
    assert faults == []
    assert heard > 4_080, "the end of `a` and the beginning of `b`"


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("clip", ["sine", "speech"])
def test_no_joint_is_heard(clip: str, format_name: str) -> None:
    """Lost payloads and a stall cause no step above −40 dBFS, and losses are concealed."""
    figures = splice(clip, sine() if clip == "sine" else speech(), format_name)
    assert figures.joints >= 8
    assert figures.largest_step_dbfs < -40
    assert figures.filled_share > 0.3
