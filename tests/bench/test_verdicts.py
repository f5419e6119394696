"""The bench's verdicts on its figures."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.bench import cases
from scripts.bench.cases import BURST, PACED, REAL, Case
from scripts.bench.contest import Figures, expected_s
from scripts.bench.growth import ACTIVE, CPU, IDLE, steepest
from scripts.bench.sessions import carried, largest
from scripts.bench.verdicts import judge


def contest(case: Case, **rounds: list[Figures]) -> dict[str, Any]:
    """A report of one case."""
    return {"rounds": {case.name: rounds}}


def cpu(*microseconds: float) -> list[Figures]:
    """Rounds with CPU costs only, and bytes just within bounds."""
    return [{"cpu_us": one, "wire_ratio": 1.08} for one in microseconds]


def live(cpu_us: float, p99_ms: float) -> list[Figures]:
    """A round of live sessions."""
    return [{"cpu_us": cpu_us, "p99_ms": p99_ms, "wire_ratio": 1.08}]


def kept(figures: dict[str, Any]) -> dict[str, bool]:
    """Whether each target was reached, by its text."""
    return {verdict.aim: verdict.kept for verdict in judge(figures)}


def test_medians_decide_not_single_rounds() -> None:
    """One disturbed round changes nothing."""
    found = judge(contest(BURST, ours=cpu(4.0, 90.0, 5.0), bare=cpu(50.0, 60.0, 51.0)))
    (against_bare,) = [verdict for verdict in found if "bare" in verdict.aim]
    assert against_bare.kept
    assert against_bare.measured == "5.00 and 51.00 µs: theirs is 10.20× (0.67 to 12.50)"


@pytest.mark.parametrize(("theirs", "reached"), [(49.9, False), (50.0, True)])
def test_the_aim_itself_is_reached(theirs: float, reached: bool) -> None:
    """Ten times cheaper means at least ten times."""
    assert kept(contest(BURST, ours=cpu(5.0), bare=cpu(theirs)))["ours: 10× cheaper than bare"] is reached


def real(cpu_us: float, switches: float) -> list[Figures]:
    """A round of AvatarKit's traffic."""
    return [{"cpu_us": cpu_us, "switches": switches, "p99_ms": 1.0, "wire_ratio": 1.0}]


@pytest.mark.parametrize(("cpu_us", "switches", "reached"), [(130.0, 8.0, True), (130.1, 8.1, False)])
def test_real_traffic_is_measured_by_the_floor(cpu_us: float, switches: float, reached: bool) -> None:
    """CPU cost and context switches; with a tick, they are compared with the floor's with a tick."""
    rounds = {"ours": real(cpu_us, switches), "floor": real(100.0, 7.0), "ours, tick": real(75.0, 0.0), "floor, tick": real(50.0, 0.0)}
    figures: dict[str, Any] = {"rounds": {REAL.name: rounds}}
    found = kept(figures)
    assert found == {
        "ours: at most 1.3× the CPU of floor": reached,
        "ours, tick: at most 1.5× the CPU of floor, tick": True,
        "ours: context switches at most the floor's + 1": reached,
    }
    assert all("the floor has" not in verdict.measured for verdict in judge(figures))


@pytest.mark.parametrize(("found_us", "reached"), [(150.0, True), (150.1, False)])
def test_an_idle_device_costs_little(found_us: float, reached: bool) -> None:
    """Limit on its CPU per second."""
    assert list(kept(contest(cases.IDLE, ours=[{"idle_us_per_s": found_us}])).values()) == [reached]


@pytest.mark.parametrize(
    ("ours", "floor", "by_floor", "conclusion"),
    [
        (5.0, 4.0, None, "reached"),
        (5.1, 5.0, True, "not reached"),
        (5.1, 5.1, False, "not reached, nor by the floor"),
    ],
)
def test_what_the_floor_does_not_reach_is_told(ours: float, floor: float, by_floor: bool | None, conclusion: str) -> None:
    """A missed target is also judged with the floor's figure, against the same peer in the same rounds."""
    (verdict,) = [found for found in judge(contest(BURST, ours=cpu(ours), bare=cpu(50.0), floor=cpu(floor))) if "bare" in found.aim]
    assert (verdict.kept_by_floor, verdict.conclusion) == (by_floor, conclusion)
    assert verdict.measured.endswith(f"; the floor has {floor:.2f}") is (by_floor is not None)


def test_each_way_has_a_floor_of_its_own() -> None:
    """Figures with a tick are compared with the floor with a tick, for latencies as for costs."""
    figures = contest(PACED, ours=live(80.0, 4.0), vendor=live(100.0, 6.0), floor=live(1.0, 3.1))
    figures["rounds"][PACED.name] |= {"ours, tick": live(60.0, 9.0), "floor, tick": live(40.0, 9.0)}
    found = {verdict.aim: verdict.conclusion for verdict in judge(figures) if "vendor" in verdict.aim}
    assert found == {
        "ours, tick: at most 0.35× the CPU of vendor": "not reached, nor by the floor",
        "ours: p99 at most 0.5× vendor's": "not reached, nor by the floor",
    }


def test_without_a_floor_nothing_is_said_of_it() -> None:
    """The floor is not mentioned for other cases or in runs without it."""
    (verdict,) = [found for found in judge(contest(BURST, ours=cpu(9.0), bare=cpu(50.0))) if "bare" in found.aim]
    assert (verdict.kept_by_floor, verdict.conclusion) == (None, "not reached")


def test_what_was_not_measured_has_no_verdict() -> None:
    """Neither reached nor missed."""
    assert judge({}) == []
    assert judge(contest(BURST, bare=cpu(5.0))) == []


@pytest.mark.parametrize(("ratio", "reached"), [(1.08, True), (1.081, False)])
def test_bytes_on_the_wire(ratio: float, reached: bool) -> None:
    """At most 8 % more than the payloads."""
    figures = contest(PACED, ours=[{"cpu_us": 1.0, "p99_ms": 1.0, "wire_ratio": ratio}])
    assert kept(figures) == {"ours: bytes on the wire at most 1.08× raw": reached}


@pytest.mark.parametrize("limit", [0, 1, 7, 20, 63, 64, 500])
def test_the_largest_number_that_holds_is_found(limit: int) -> None:
    """To within its precision, and never one that does not hold."""
    tried: list[int] = []
    found = largest(lambda number: tried.append(number) or number <= limit, first=20, most=640, precision=0.1)  # type: ignore[func-returns-value]
    assert found <= limit <= max(found + 1, found * 1.1)
    assert len(tried) < 14


def test_the_search_ends_at_its_bound() -> None:
    """If every number holds."""
    assert largest(lambda _: True, first=20, most=640) == 640


def test_sessions_are_carried_in_time_and_whole() -> None:
    """A server that falls behind does not carry the load, even if the received payloads were fast."""
    assert carried(10, {"p99_ms": 20.0, "rate": 790.0})
    assert not carried(10, {"p99_ms": 20.1, "rate": 800.0})
    assert not carried(10, {"p99_ms": 5.0, "rate": 700.0})


def test_a_full_load_generator_is_told() -> None:
    """The number is then a lower bound."""
    figures = {"sessions": {"ours": [{"sessions": 40.0, "load_busy": 0.98}], "floor": [{"sessions": 60.0, "load_busy": 0.5}]}}
    (verdict,) = judge(figures)
    assert not verdict.kept
    assert verdict.measured == "40 and 60; the load generator was the limit, not the relay"


@pytest.mark.parametrize(
    ("curve", "slopes"),
    [({1: 10, 2: 20, 4: 40}, (10.0, 10.0)), ({1: 1, 10: 100, 100: 10_000}, (11.0, 110.0)), ({1: 9, 100: 9, 2: 10}, (1.0, -1 / 98))],
)
def test_steepest(curve: dict[float, float], slopes: tuple[float, float]) -> None:
    """Points are sorted by number first."""
    assert steepest(curve) == pytest.approx(slopes)


def test_growth_beyond_a_straight_line_is_found() -> None:
    """For memory as for CPU; both memory bounds apply to each point, not only to the last."""
    straight = {
        IDLE: {"0": 45_000, "1": 45_100, "100": 48_000, "1000": 76_000},
        ACTIVE: {"1": 47_000, "100": 55_000},
        CPU: {"1": 600, "10": 200, "50": 140, "100": 120},
    }
    assert set(kept({"growth": straight}).values()) == {True}
    curved = {
        IDLE: {"0": 45_000, "1": 45_100, "100": 48_000, "1000": 330_000},
        ACTIVE: {"1": 66_000, "100": 67_000},
        CPU: {"1": 100, "10": 100, "50": 150, "100": 300},
    }
    assert set(kept({"growth": curved}).values()) == {False}


def test_start_up_and_tracing_have_bounds_of_their_own() -> None:
    """Medians in seconds; instructions in per cent."""
    found = kept(
        {
            "start_up": {"relay-server listens": [0.5, 0.6, 9.0], "imports: edge-client": [0.7], "bare server listens": [0.1]},
            "tracing": {"none": 100.0, "off": 111.0, "default": 161.0, "full": 900.0, "relay": 1_000.0},
        }
    )
    assert found == {
        "relay-server listens: at most 0.7 s": True,
        "imports: edge-client: at most 0.6 s": False,
        "off: at most 1 % more instructions than a build without it": False,
        "default: at most 5 % more instructions than off": True,
    }


def test_how_long_it_takes_is_known_beforehand() -> None:
    """Each contender takes its measured stretch plus overhead in every round."""
    one = expected_s([(BURST, ("ours",))], 1)
    assert one > BURST.seconds
    assert expected_s([(BURST, ("ours", "bare"))], 5) == pytest.approx(10 * one)
