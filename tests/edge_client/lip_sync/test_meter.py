"""The skew between sound and face."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.audio.timeline import Position
from edge_client.lip_sync.meter import SkewMeter, SkewRecord, SkewStats


def _at(pts_us: int, conversation_id: str = "a") -> Position:
    return Position(conversation_id, pts_us)


def test_sound_early_is_positive() -> None:
    """Skew is PTS heard minus PTS shown, at the time of the picture."""
    meter = SkewMeter()
    meter.picture(0, _at(100_000), _at(130_000))
    stats = meter.at_pictures.stats()
    assert (stats.count, stats.p50_ms, stats.max_abs_ms, stats.mean_ms) == (1, 30.0, 30.0, 30.0)


def test_frozen_face_shows_in_heard_time_and_as_the_longest_hold() -> None:
    """One good picture, then none for half a second of sound."""
    meter = SkewMeter()
    meter.picture(0, _at(0), _at(0))
    for step in range(51):
        meter.heard(step * 10_000, _at(step * 10_000))
    assert meter.at_pictures.stats().max_abs_ms == 0.0
    assert meter.at_heard.stats().max_abs_ms == 500.0
    assert meter.longest_hold_us == 500_000
    assert meter.at_heard.stats().alarms == 46


def test_picture_that_shows_the_same_pts_again_goes_on_holding() -> None:
    """Drawing the same pose thirty times a second is still a hold."""
    meter = SkewMeter()
    for step in range(10):
        meter.picture(step * 33_000, _at(40_000), _at(40_000 + step * 33_000))
        meter.heard(step * 33_000, _at(40_000 + step * 33_000))
    assert meter.longest_hold_us == 9 * 33_000


def test_hold_ends_with_the_picture_that_shows_another_pts() -> None:
    """A hold ends with the next PTS, also if nothing was measured in between."""
    meter = SkewMeter()
    meter.picture(0, _at(0), _at(0))
    meter.picture(70_000, _at(70_000), _at(70_000))
    assert meter.longest_hold_us == 70_000


def test_silence_and_another_conversation_are_not_measured() -> None:
    """Skew is defined between the sound and the face of one conversation."""
    meter = SkewMeter()
    meter.picture(0, _at(100_000), None)
    meter.picture(1, None, _at(100_000))
    meter.picture(2, _at(100_000), _at(0, "b"))
    meter.heard(3, _at(0, "b"))
    meter.heard(4, None)
    assert meter.at_pictures.stats() == SkewStats()
    assert meter.at_heard.stats() == SkewStats()


@given(st.lists(st.integers(-400_000, 400_000), min_size=1, max_size=400))
def test_percentiles_agree_with_numpy(skews: list[int]) -> None:
    """Percentiles agree with numpy to the width of a bin."""
    record = SkewRecord()
    for index, skew in enumerate(skews):
        record.add(index, skew)
    stats = record.stats()
    sizes = np.abs(np.asarray(skews)) / 1_000
    assert stats.p50_ms == pytest.approx(float(np.quantile(np.asarray(skews) / 1_000, 0.5, method="inverted_cdf")), abs=0.11)
    assert stats.p95_ms == pytest.approx(float(np.quantile(sizes, 0.95, method="inverted_cdf")), abs=0.11)
    assert stats.p99_ms == pytest.approx(float(np.quantile(sizes, 0.99, method="inverted_cdf")), abs=0.11)
    assert stats.max_abs_ms == sizes.max()
    assert stats.mean_ms == pytest.approx(float(np.mean(skews)) / 1_000)


def test_memory_is_bounded_and_the_series_spans_everything() -> None:
    """A day of pictures fits; the series is thinned evenly."""
    record = SkewRecord()
    for index in range(100_000):
        record.add(index, index % 7)
    assert len(record.series) < 8_192
    assert record.series[0].time_us == 0
    assert record.series[-1].time_us > 99_000
    gaps = {later.time_us - earlier.time_us for earlier, later in zip(record.series, record.series[1:], strict=False)}
    assert len(gaps) == 1
