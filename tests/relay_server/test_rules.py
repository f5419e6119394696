"""The relay's rules of a conversation: a table of scripts, each under the number of its rule."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.relay_server.relay_dsl import RelayDsl


@dataclass(frozen=True)
class Case:
    """A script and the messages each actor must receive; `before` runs first, and its output is ignored."""

    rule: int
    name: str
    script: str
    heard: dict[str, list[str]]
    before: str = field(default="lobby attaches; a opens c1")


CASES = (
    Case(
        1,
        "open comes first, end last",
        "a opens c1; a audio c1 2; a motion c1; a ends c1",
        {"lobby": ["open c1", "audio c1 1-2", "motion c1 1", "end c1 2 1"], "a": ["opened c1 lobby"]},
        before="lobby attaches",
    ),
    Case(
        1,
        "replace cuts what plays",
        "a audio c1; a opens c2; a audio c1; a audio c2; lobby finishes c1 5 replaced; a acks lobby 1",
        {
            "lobby": ["audio c1 1", "open c2", "audio c2 1", "ack 1"],
            "a": ["opened c2 lobby", "dropped c1 1 audio conversation_closed", "finished c1 lobby 5 replaced"],
        },
    ),
    Case(
        1,
        "queue follows: its media waits for the end of the one before",
        "a opens c2 queue; a audio c2; a audio c1; a ends c1",
        {"lobby": ["open c2", "audio c1 1", "end c1 1 0", "audio c2 1"]},
    ),
    Case(1, "an id is used once, while it lives", "a opens c1", {"a": ["error c1 CONVERSATION_ID_TAKEN"]}),
    Case(
        1,
        "an id is used once, and never again",
        "a audio c1; a ends c1; lobby finishes c1 1; b opens c1",
        {"b": ["error c1 CONVERSATION_ID_TAKEN"]},
    ),
    Case(
        1,
        "a stream typed by hand gets ids and sequences",
        "byhand opens -; byhand audio - 2",
        {"lobby": ["open cAAAAAAAAAAAAAAAC", "audio cAAAAAAAAAAAAAAAC 1-2"]},
        before="lobby attaches",
    ),
    Case(
        2,
        "media of a closed id is dropped and reported",
        "a motion c1 2; a ends c1",
        {
            "a": ["dropped c1 2 motion conversation_closed", "error c1 CONVERSATION_CLOSED"],
            "lobby": [],
            "everybody": ["dropped c1 2 motion conversation_closed"],
        },
        before="lobby attaches; a opens c1; a audio c1; a ends c1; lobby finishes c1 1",
    ),
    Case(
        2,
        "media before its open is held for it",
        "a motion c2; wait 4; a opens c2 queue; a audio c1; a ends c1",
        {"lobby": ["open c2", "audio c1 1", "end c1 1 0", "motion c2 1"], "a": ["opened c2 lobby"]},
    ),
    Case(
        2,
        "media that nobody opens is dropped and reported",
        "a motion c2 3; wait 6",
        {"a": ["error c2 CONVERSATION_UNKNOWN", "dropped c2 3 motion conversation_unknown"]},
    ),
    Case(2, "only open opens", "a ends c2; a pauses c2; a audio-only c2", {"a": ["error c2 CONVERSATION_UNKNOWN"] * 3, "lobby": []}),
    Case(
        2,
        "what the device drops is told as well",
        "lobby drops c1 late",
        {"a": ["dropped c1 1 motion late lobby"], "everybody": ["dropped c1 1 motion late lobby"]},
    ),
    Case(
        3,
        "audio_only is final",
        "a motion c1; a audio-only c1; a motion c1; a audio c1; a ends c1",
        {"lobby": ["motion c1 1", "audio-only c1", "audio c1 1", "end c1 1 1"], "a": ["dropped c1 1 motion audio_only"]},
    ),
    Case(
        3,
        "a conversation without motion format has none",
        "a motion c2; a audio c2",
        {"lobby": ["audio c2 1"], "a": ["dropped c2 1 motion no_motion_format"]},
        before="lobby attaches; a opens c2 silent-face",
    ),
    Case(
        4,
        "a conversation belongs to its publisher",
        "b motion c1; b interrupts c1; a audio c1",
        {"b": ["error c1 CONVERSATION_NOT_YOURS"] * 2, "lobby": ["audio c1 1"]},
    ),
    Case(
        4,
        "the last opener wins, and the other is notified",
        "b opens c2; b audio c2; a audio c1",
        {
            "lobby": ["open c2", "audio c2 1"],
            "a": ["error c1 CONVERSATION_TAKEN_OVER lobby", "dropped c1 1 audio conversation_closed"],
            "b": ["opened c2 lobby"],
        },
    ),
    Case(4, "who follows takes nothing over", "b opens c2 queue", {"a": [], "lobby": ["open c2"]}),
    Case(
        4,
        "interrupt names an id, and leaves the others",
        "a interrupts c2; a audio c1",
        {"lobby": ["interrupt c2", "audio c1 1"], "a": []},
        before="lobby attaches; a opens c1; a opens c2 queue",
    ),
    Case(
        5,
        "end without audio is an error, and clears",
        "a motion c1; a ends c1",
        {"a": ["error c1 NO_AUDIO"], "lobby": ["motion c1 1", "interrupt c1"]},
    ),
    Case(
        5,
        "a publisher that vanishes keeps its lease",
        "a audio c1; a vanishes; wait 4",
        {"lobby": ["audio c1 1"]},
    ),
    Case(
        5,
        "a publisher that vanishes is ended for, and plays out",
        "a audio c1 2; a vanishes; wait 6; lobby finishes c1 9",
        {"lobby": ["audio c1 1-2", "end c1 2 0", "ack 1"], "everybody": ["finished c1 lobby 9 publisher_lost"]},
    ),
    Case(
        5,
        "one that returns late is told that this was not all of it, as often as the device repeats it",
        "a audio c1 2; a vanishes; wait 6; a opens c2 queue; lobby finishes c1 9; lobby repeats c1 9",
        {"a": ["error c1 PUBLISHER_LOST", "opened c2 lobby", *["finished c1 lobby 9 publisher_lost"] * 2]},
    ),
    Case(
        5,
        "a conversation with a fault has failed, although the data before the fault was played",
        "a audio c1 2; a skips c1; lobby finishes c1 9",
        {"a": ["error c1 SEQUENCE_GAP", "finished c1 lobby 9 failed"], "lobby": ["audio c1 1-2", "end c1 2 0"]},
    ),
    Case(
        5,
        "the summary of a group tells it, too",
        "a audio c1; a vanishes; wait 6; lobby finishes c1 5; hall finishes c1 8",
        {"everybody": ["finished c1 lobby 5 publisher_lost", "finished c1 hall 8 publisher_lost", "finished c1 all 8 publisher_lost"]},
        before="lobby attaches; hall attaches; a opens c1 on everyone",
    ),
    Case(
        5,
        "the end of a stream typed by hand is an end",
        "byhand opens c2; byhand audio c2; byhand half-closes; lobby finishes c2 9",
        {"byhand": ["opened c2 lobby", "finished c2 lobby 9 completed"], "lobby": ["open c2", "audio c2 1", "end c2 1 0", "ack 1"]},
        before="lobby attaches",
    ),
    Case(
        5,
        "an interrupt is an interrupt also then",
        "a audio c1; a vanishes; wait 6; b opens c2; lobby finishes c1 5 replaced",
        {"everybody": ["finished c1 lobby 5 replaced"]},
    ),
    Case(5, "one that vanishes without audio leaves nothing", "a vanishes; wait 6", {"lobby": ["interrupt c1"]}),
    Case(
        5,
        "end is said once",
        "a audio c1; a ends c1; a ends c1; a audio c1",
        {"lobby": ["audio c1 1", "end c1 1 0"], "a": ["error c1 CONVERSATION_ENDED", "dropped c1 1 audio after_end"]},
    ),
    Case(
        6,
        "interrupt closes the id",
        "a audio c1; a interrupts c1; a audio c1; lobby finishes c1 7 interrupted; a interrupts c1; a acks lobby 1",
        {
            "lobby": ["audio c1 1", "interrupt c1", "ack 1"],
            "a": ["dropped c1 1 audio conversation_closed", "finished c1 lobby 7 interrupted"],
        },
    ),
    Case(
        6,
        "pause keeps everything",
        "a audio c1; a pauses c1; a audio c1; a resumes c1",
        {"lobby": ["audio c1 1", "pause c1", "audio c1 2", "resume c1"], "a": []},
    ),
    Case(
        6,
        "a device that missed the resume hears it when it is back",
        "lobby leaves; a resumes c1; lobby returns c1:1:0",
        {"lobby": ["welcome", "resumed c1", "open c1", "resume c1"]},
        before="lobby attaches; a opens c1; a audio c1; a pauses c1",
    ),
    Case(
        7,
        "late motion is still carried: the device decides",
        "a audio c1 20; a motion c1",
        {"lobby": ["audio c1 1-20", "motion c1 1"], "a": []},
    ),
    Case(
        8,
        "late audio is still carried: the device decides",
        "a motion c1 3; wait 4; a audio c1",
        {"lobby": ["motion c1 1-3", "audio c1 1"], "a": []},
    ),
    Case(
        9,
        "finished is reported once",
        "a audio c1; a ends c1; lobby finishes c1 5; lobby finishes c1 6",
        {
            "a": ["finished c1 lobby 5 completed"],
            "everybody": ["finished c1 lobby 5 completed", "ignored c1"],
            "lobby": ["audio c1 1", "end c1 1 0"],
        },
    ),
    Case(9, "sent is not played: the end alone finishes nothing", "a audio c1; a ends c1; wait 20", {"a": []}),
    Case(
        9,
        "a repeated finished event is passed on until it is acknowledged",
        "a audio c1; a ends c1; lobby finishes c1 5; lobby repeats c1 5; a acks lobby 1; lobby repeats c1 5",
        {"a": ["finished c1 lobby 5 completed"] * 2, "lobby": ["audio c1 1", "end c1 1 0", "ack 1", "ack 1"]},
    ),
    Case(
        9,
        "a lost device's conversations are finished for it, at the last position reported",
        "lobby pauses c1 77; lobby leaves; wait 31",
        {"a": ["paused c1 lobby", "finished c1 lobby 77 device_lost"]},
    ),
    Case(
        9,
        "what a lost device tells later is ignored",
        "lobby leaves; wait 31; lobby attaches; lobby finishes c1 5",
        {"a": ["finished c1 lobby 0 device_lost"], "lobby": ["welcome", "ack 1"]},
    ),
    Case(9, "goodbye ends the session now", "lobby goodbyes", {"a": ["finished c1 lobby 0 device_lost"]}),
    Case(
        9,
        "a device that comes back as somebody new has lost all",
        "lobby starts c1; lobby attaches",
        {"a": ["started c1 lobby", "finished c1 lobby 0 device_lost"], "lobby": ["welcome"]},
    ),
    Case(
        9,
        "an event without a number is passed on, and not acknowledged",
        "lobby says-unnumbered c1; lobby says-unnumbered c1",
        {"a": ["finished c1 lobby 3 completed"], "everybody": ["finished c1 lobby 3 completed", "ignored c1"], "lobby": []},
    ),
    Case(10, "a device's report of lengths that disagree is passed on", "lobby starts c1", {"a": ["started c1 lobby"]}),
    Case(
        11,
        "an unknown device is refused",
        "a opens c1 on nobody; a audio c1",
        {"a": ["error c1 DEVICE_UNKNOWN", "dropped c1 1 audio conversation_closed"]},
        before="lobby attaches",
    ),
    Case(
        11,
        "the known ones play nevertheless",
        "a opens c1 on nobody,lobby",
        {"a": ["error c1 DEVICE_UNKNOWN", "opened c1 lobby"], "lobby": ["open c1"]},
        before="lobby attaches",
    ),
    Case(
        11,
        "what is opened for a device that is away waits for it",
        "a opens c2; a audio c2; lobby returns",
        {"a": ["opened c2 lobby"], "lobby": ["welcome", "open c2", "audio c2 1"]},
        before="lobby attaches; lobby leaves",
    ),
    Case(
        11,
        "also if the device is started anew; what it was playing is over",
        "a opens c2 queue; a audio c2; a ends c2; lobby attaches; lobby finishes c2 5",
        {
            "a": ["opened c2 lobby", "finished c1 lobby 0 device_lost", "finished c2 lobby 5 completed"],
            "lobby": ["welcome", "open c2", "audio c2 1", "end c2 1 0"],
        },
        before="lobby attaches; a opens c1; a audio c1 3; lobby holds c1 1 0; lobby leaves",
    ),
    Case(
        11,
        "a device that said nothing since its hello may have missed the welcome: all is sent again",
        "lobby attaches; a audio c1; a ends c1; lobby finishes c1 5",
        {
            "a": ["finished c1 lobby 5 completed"],
            "lobby": ["welcome", "open c1", "audio c1 1-3", "audio c1 4", "end c1 4 0"],
        },
        before="lobby attaches; a opens c1; a audio c1 3; lobby leaves",
    ),
    Case(
        11,
        "also after the end was sent, and several times",
        "lobby attaches; lobby leaves; lobby attaches",
        {"a": [], "lobby": ["welcome", "open c1", "audio c1 1-3", "end c1 3 0"] * 2},
        before="lobby attaches; a opens c1; a audio c1 3; a ends c1",
    ),
    Case(
        11,
        "but at most three times, as it may be what makes the device crash",
        "lobby attaches; lobby attaches; lobby attaches; lobby attaches",
        {"a": ["finished c1 lobby 0 device_lost"], "lobby": ["welcome", "open c1", "audio c1 1-3"] * 3 + ["welcome"]},
        before="lobby attaches; a opens c1; a audio c1 3",
    ),
    Case(
        11,
        "and not if it can no longer be sent from the beginning",
        "wait 35; a audio c1; lobby attaches",
        {"a": ["finished c1 lobby 0 device_lost"], "lobby": ["audio c1 4", "welcome"]},
        before="lobby attaches; a opens c1; a audio c1 3",
    ),
    Case(
        11,
        "what was interrupted meanwhile is opened and interrupted, so that the device reports its end",
        "a interrupts c1; lobby attaches; lobby finishes c1 0 interrupted",
        {
            "a": ["finished c1 lobby 0 interrupted"],
            "lobby": ["interrupt c1", "welcome", "open c1", "interrupt c1"],
        },
        before="lobby attaches; a opens c1; a audio c1 3",
    ),
    Case(
        11,
        "a device with a token has had a welcome: started anew, it has lost what it played",
        "lobby returns c1:0:0; lobby attaches",
        {"a": ["finished c1 lobby 0 device_lost"], "lobby": ["welcome", "resumed c1", "open c1", "audio c1 1-3", "welcome"]},
        before="lobby attaches; a opens c1; a audio c1 3",
    ),
    Case(
        11,
        "a device that comes back gets what it lacks",
        "lobby leaves; a audio c1; lobby returns c1:2:0; a ends c1",
        {"lobby": ["welcome", "resumed c1", "open c1", "audio c1 3-4", "end c1 4 0"], "a": []},
        before="lobby attaches; a opens c1; a audio c1 3",
    ),
    Case(
        11,
        "a device that held nothing gets it all again",
        "lobby leaves; lobby returns",
        {"lobby": ["welcome", "resumed c1", "open c1", "audio c1 1-3"]},
        before="lobby attaches; a opens c1; a audio c1 3",
    ),
    Case(
        11,
        "what a device finished while it was away is not sent again",
        "lobby returns; lobby finishes c1 5",
        {"lobby": ["welcome", "interrupt c1"], "a": ["finished c1 lobby 5 completed"]},
        before="lobby attaches; a opens c1; a audio c1 3; a ends c1; lobby holds c1 3 0; lobby leaves",
    ),
    Case(
        11,
        "nor is what its publisher goes on with",
        "lobby returns; a audio c1; a ends c1; lobby finishes c1 5",
        {
            "lobby": ["welcome", "interrupt c1"],
            "a": ["dropped c1 1 audio conversation_closed", "error c1 CONVERSATION_CLOSED", "finished c1 lobby 5 completed"],
        },
        before="lobby attaches; a opens c1; a audio c1 3; lobby holds c1 3 0; lobby leaves",
    ),
    Case(
        11,
        "what cannot be sent again is lost, and finished",
        "wait 25; lobby returns c1:0:0",
        {"lobby": ["welcome", "lost c1"], "a": ["finished c1 lobby 0 device_lost"]},
        before="lobby attaches; a opens c1; a audio c1 3; wait 10; lobby leaves",
    ),
    Case(
        11,
        "what the device names and nobody knows is lost",
        "lobby returns c9:1:1",
        {"lobby": ["welcome", "lost c9"], "a": []},
        before="lobby attaches; lobby leaves",
    ),
    Case(
        11,
        "a group plays on all its members, with one summary",
        "a opens c1 on everyone; a audio c1; a ends c1; lobby finishes c1 5; hall finishes c1 8",
        {
            "a": ["opened c1 lobby,hall", "finished c1 lobby 5 completed", "finished c1 hall 8 completed", "finished c1 all 8 completed"],
            "hall": ["open c1", "audio c1 1", "end c1 1 0"],
            "lobby": ["open c1", "audio c1 1", "end c1 1 0"],
        },
        before="lobby attaches; hall attaches",
    ),
    Case(
        11,
        "a late joiner starts with the next one",
        "hall attaches; a audio c1; a opens c2 on everyone",
        {"hall": ["welcome", "open c2"], "a": ["opened c2 lobby,hall"]},
        before="lobby attaches; a opens c1 on everyone",
    ),
    Case(
        11,
        "what replaces on one device goes on on the other",
        "b opens c2; a audio c1",
        {"hall": ["audio c1 1"], "lobby": ["open c2"], "a": ["error c1 CONVERSATION_TAKEN_OVER lobby"]},
        before="lobby attaches; hall attaches; a opens c1 on everyone",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=[f"{case.rule}: {case.name}" for case in CASES])
def test_rule(case: Case) -> None:
    """Each actor receives what the rule requires, in that order, and nothing else."""
    house = RelayDsl()
    house.play(case.before)
    for actor in ("a", "b", "lobby", "hall", "everybody"):
        house.heard(actor)
    house.play(case.script)
    assert {actor: house.heard(actor) for actor in case.heard} == case.heard
