"""Motion with explicit positions: `at_us`, for a call or for each keyframe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_relay import weights
from avatar_relay.media import Kind, MotionEncoding, MotionFormat, Payload
from avatar_relay.messages import ConversationEnd, Media
from avatar_relay.publisher import Avatar, InvalidMediaError
from avatar_relay.publisher.media_line import ON_GRID_US, MotionLine
from edge_client.motion.decoders import make_motion_decoder
from edge_client.motion.stream import MotionStream
from tests.avatar_relay.publisher.fakes import AVATARKIT, PCM_16K, PCM_100MS, FakeRelay, avatarkit_message

JAW_30 = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 30.0, ("jawOpen",))
STEP_US = 1e6 / 30


def rows(count: int, first: int = 0) -> bytes:
    """Rows that count up."""
    return weights.write([[index / 1_000] for index in range(first, first + count)])


def sent(relay: FakeRelay) -> list[tuple[int | None, int]]:
    """Return position and number of rows of each motion payload."""
    payloads = [payload for media in relay.link.all(Media) for payload in media.payloads if payload.kind is Kind.MOTION]
    return [(payload.pts_us, len(payload.data) // 4) for payload in payloads]


async def yielded(relay: FakeRelay, calls: Sequence[tuple[list[bytes], int | list[int] | None]], *, wait: bool = True) -> None:
    """Make these calls on one conversation of 0.1 s, and end it."""
    async with relay.publisher() as publisher:
        avatar: Avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=JAW_30)
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        for frames, at_us in calls:
            if wait:
                assert await avatar.yield_frames_data(frames, conversation_id, at_us=at_us)
            else:
                assert avatar.yield_frames_data_nowait(frames, conversation_id, at_us=at_us)
        avatar.end()
        await relay.link.until_said(ConversationEnd)


@pytest.mark.parametrize("wait", [True, False])
async def test_a_position_for_a_call(wait: bool) -> None:
    """The first keyframe of all frames; later ones follow it, also in the next call."""
    relay = FakeRelay()
    await yielded(relay, [([rows(3), rows(3)], 500_000), ([rows(1)], None), ([rows(2)], 2_000_000)], wait=wait)
    assert sent(relay) == [(500_000, 3), (600_000, 3), (700_000, 1), (2_000_000, 2)]


@pytest.mark.parametrize("wait", [True, False])
async def test_a_position_for_each_keyframe(wait: bool) -> None:
    """Rows on the grid share a payload; a missing row, and accumulated time difference, start another payload."""
    relay = FakeRelay()
    on_grid = [0, 33_333, 66_667, 100_000]
    behind_a_gap = [166_667, 200_000 + ON_GRID_US]
    later = [250_000, 270_000]
    await yielded(relay, [([rows(4), rows(4)], on_grid + behind_a_gap + later)], wait=wait)
    assert sent(relay) == [(0, 4), (166_667, 2), (250_000, 1), (270_000, 1)]


@pytest.mark.parametrize(
    ("at_us", "error", "text"),
    [
        (-1, ValueError, "at_us must be from 0"),
        (1 << 60, ValueError, "at_us must be from 0"),
        (0.5, TypeError, "at_us must be a whole number, not float"),
        ("12", TypeError, "at_us must be a whole number, not str"),
        (True, TypeError, "not bool"),
        (b"12", TypeError, "not bytes"),
        ([0, 10, 10], ValueError, r"at_us\[2\] is 10, not behind 10"),
        ([0, 1.5, 2], TypeError, r"at_us\[1\] must be a whole number"),
        ([0, 10], ValueError, "at_us has 2 positions for 3 keyframes"),
        ([], ValueError, "at_us has 0 positions for 3 keyframes"),
    ],
)
async def test_wrong_positions_are_refused_at_the_call(at_us: object, error: type[Exception], text: str) -> None:
    """Nothing is accepted then, and the conversation continues."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=JAW_30)
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        for verb in (avatar.yield_frames_data_nowait, avatar.yield_frames_data):
            with pytest.raises(error, match=text):
                await verb([rows(3)], conversation_id, at_us=at_us)  # type: ignore[arg-type, misc]
        assert avatar.yield_frames_data_nowait([rows(1)], conversation_id, at_us=np.int64(7))  # type: ignore[arg-type]
        avatar.end()
        await relay.link.until_said(ConversationEnd)
    assert sent(relay) == [(7, 1)]


async def test_avatarkit_is_placed_by_the_call_only() -> None:
    """Its messages are sent bit for bit."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=AVATARKIT)
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        with pytest.raises(InvalidMediaError, match="cannot be cut"):
            await avatar.yield_frames_data([avatarkit_message(2)], conversation_id, at_us=[0, 40_000])
        message = avatarkit_message(2)
        assert await avatar.yield_frames_data([message], conversation_id, at_us=1_000_000)
        avatar.end()
        await relay.link.until_said(ConversationEnd)
    payloads = [payload for media in relay.link.all(Media) for payload in media.payloads]
    payload = next(payload for payload in payloads if payload.kind is Kind.MOTION)
    assert (payload.pts_us, payload.duration_us, payload.data) == (1_000_000, 80_000, message)


@given(st.lists(st.integers(20_000, 400_000), min_size=1, max_size=60), st.sampled_from([30.0, 29.97, 60.0]))
@settings(max_examples=40, deadline=None)
def test_each_keyframe_is_shown_at_its_time(gaps_us: list[int], rate: float) -> None:
    """For any time codes: at each of them the pose is that of the row, within the error of the grid."""
    at_us = [int(position) for position in np.cumsum(gaps_us)]
    format = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, rate, ("jawOpen",))
    line, stream = MotionLine(format), MotionStream(make_motion_decoder(format), format)
    for seq, (part, position_us) in enumerate(line.split(line.inspect(rows(len(at_us))), at_us), 1):
        piece = line.place(part, position_us)
        decoded = stream.decode(Payload(Kind.MOTION, seq, piece.data, piece.pts_us, piece.duration_us))
        assert isinstance(decoded, np.ndarray)
        assert stream.place(Payload(Kind.MOTION, seq, piece.data, piece.pts_us), decoded, 0) is None
    for index, position_us in enumerate(at_us):
        near = [stream.track.sample(position_us + apart) for apart in range(-ON_GRID_US, ON_GRID_US + 1, 500)]
        assert min(abs(float(sample.pose[24]) * 1_000 - index) for sample in near if sample is not None) < 0.15
