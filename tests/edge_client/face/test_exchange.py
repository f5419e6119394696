"""Requests and replies as packets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_client.face.exchange import MAX_PACKET_BYTES, Answer, Question
from edge_client.face.overlay import DARK, NOTHING, Overlay, Page
from edge_client.motion.pose import POSE_SIZE
from edge_client.playback.events import PlayerState, View

INTEGERS = st.integers(-(1 << 62), 1 << 62)
COUNTS = st.integers(0, 1 << 62)
OPTIONAL = st.none() | INTEGERS
TEXTS = st.text(max_size=160)
QUESTIONS = st.builds(Question, COUNTS, INTEGERS, INTEGERS, st.none() | COUNTS, INTEGERS, COUNTS, COUNTS, st.booleans())
OVERLAYS = st.builds(Overlay, st.none() | st.builds(Page, TEXTS, TEXTS), TEXTS, st.lists(TEXTS, max_size=6).map(tuple))
NAMES = st.none() | st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", min_size=1, max_size=64)
VIEWS = st.builds(View, st.sampled_from(PlayerState), NAMES, OPTIONAL, st.none(), st.floats(0, 1), OPTIONAL, COUNTS)
POSES = st.none() | st.lists(st.floats(-4, 4, width=32), min_size=POSE_SIZE, max_size=POSE_SIZE)


@given(QUESTIONS)
def test_questions_travel(question: Question) -> None:
    """Requests are transferred unchanged, and never mistaken for JSON."""
    assert Question.unpack(question.pack()) == question
    assert not question.pack().startswith(b"{")


@given(COUNTS, VIEWS, POSES, OVERLAYS | st.sampled_from([NOTHING, DARK]), OPTIONAL)
def test_answers_travel(number: int, view: View, pose: list[float] | None, overlay: Overlay, heard: int | None) -> None:
    """Replies are transferred unchanged, within the size of a packet."""
    motion = None if pose is None else np.asarray(pose, np.float32)
    sent = Answer(
        number,
        View(view.state, view.conversation_id, view.audible_pts_us, motion, view.motion_weight, view.shown_pts_us, view.buffered_us),
        overlay,
        heard,
    )
    packet = sent.pack()
    assert len(packet) <= MAX_PACKET_BYTES
    got = Answer.unpack(packet)
    assert (got.number, got.overlay, got.heard_pts_us) == (number, overlay, heard)
    for name in ("state", "conversation_id", "audible_pts_us", "motion_weight", "shown_pts_us", "buffered_us"):
        assert getattr(got.view, name) == getattr(sent.view, name)
    assert (got.view.motion is None) == (motion is None)
    if motion is not None and got.view.motion is not None:
        assert np.array_equal(got.view.motion, motion)
