"""The mood of a conversation on the face: the engine on virtual time, from the wire's `open` to the pose of each picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.media import Expression, ExpressionPreset, OnPlaying
from avatar_relay.messages import ConversationEnd, Media
from tests.edge_client.playback.test_mouth_from_sound import PCM_16K, SECONDS, jaws, sound
from tests.edge_client.playback_bench import Bench, open_

BROW, SMILE = ARKIT_INDEX["browInnerUp"], ARKIT_INDEX["mouthSmileLeft"]


def _played(first: Expression, second: Expression) -> Bench:
    """Two conversations in sequence, whose sound moves the mouth."""
    bench = Bench()
    for name, expression in (("a", first), ("b", second)):
        opening = replace(open_(name, motion=None, audio=PCM_16K, on_playing=OnPlaying.QUEUE), expression=expression)
        bench.handle(opening, Media(name, sound().payloads), ConversationEnd(name, 0, 0))
    bench.run(round((2 * SECONDS + 1.5) * 1e6))
    return bench


def test_each_conversation_has_its_mood_and_the_next_one_takes_over_without_a_jump() -> None:
    """Sad, then happy: brows and corners of the mouth follow; afterwards the face rests."""
    bench = _played(Expression(ExpressionPreset.SAD, 0.5), Expression(ExpressionPreset.HAPPY))
    poses = [(now_us / 1e6, view.conversation_id, view.motion) for now_us, view in bench.views if view.motion is not None]
    middle = {name: np.median([pose for _, id_, pose in poses if id_ == name], axis=0) for name in ("a", "b")}
    assert abs(middle["a"][BROW] - 0.4) < 0.03
    assert middle["b"][BROW] < 0.05
    assert middle["b"][SMILE] > 0.3 > 0.1 > middle["a"][SMILE]
    brows = np.array([pose[BROW] for _, _, pose in poses])
    assert np.abs(np.diff(brows)).max() < 0.1
    last = bench.views[-1][1].motion
    assert last is None or max(last[BROW], last[SMILE]) < 0.05


def test_a_mood_leaves_the_jaw_to_speech() -> None:
    """A mood leaves the jaw unchanged, bit for bit."""
    plain, moody = (_played(expression, expression) for expression in (Expression(), Expression(ExpressionPreset.SURPRISED)))
    assert jaws(plain) == jaws(moody)
