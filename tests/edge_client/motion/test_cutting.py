"""The same keyframes yield the same poses, however they are split into payloads: from the publisher library to the pose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar_relay import weights
from avatar_relay.media import Kind, MotionEncoding, MotionFormat, NameSet, Payload
from avatar_relay.publisher.media_line import MotionLine
from edge_client.motion.decoders import make_motion_decoder
from edge_client.motion.stream import MotionStream

NAMES = ("jawOpen", "eyeBlinkLeft", "HeadYaw")
VISEMES = ("sil", "PP", "aa", "U", "jawOpen")


def poses(format: MotionFormat, rows: NDArray[np.float64], sizes: list[int]) -> NDArray[np.float32]:
    """The poses shown every 7 ms, for rows in payloads of these sizes, repeated."""
    line, stream = MotionLine(format), MotionStream(make_motion_decoder(format), format)
    start, seq = 0, 0
    while start < len(rows):
        count = sizes[seq % len(sizes)]
        piece = line.place(line.inspect(weights.write(rows[start : start + count])))
        start, seq = start + count, seq + 1
        payload = Payload(Kind.MOTION, seq, piece.data, piece.pts_us, piece.duration_us)
        decoded = stream.decode(payload)
        assert isinstance(decoded, np.ndarray)
        assert stream.place(payload, decoded, 0) is None
    assert abs(stream.length_us - len(rows) * 1e6 / format.keyframes_per_second) < 2
    samples = [stream.track.sample(pts_us) for pts_us in range(0, stream.length_us, 7_000)]
    return np.stack([sample.pose for sample in samples if sample is not None])


@pytest.mark.parametrize(("names", "name_set"), [(NAMES, None), (VISEMES, NameSet.OCULUS)])
@given(
    rate=st.one_of(st.sampled_from([15.0, 24.0, 25.0, 29.97, 30.0, 48.0, 59.94, 60.0, 120.0, 240.0]), st.floats(15, 240)),
    count=st.integers(20, 120),
    seed=st.integers(0, 1 << 16),
    random_sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
)
@settings(max_examples=15, deadline=None)
def test_any_cutting_gives_identical_poses(
    names: tuple[str, ...], name_set: NameSet | None, rate: float, count: int, seed: int, random_sizes: list[int]
) -> None:
    """1, 7, 8, 30 and random rows in a payload, at 15 to 240 a second; steps as sharp as a blink's."""
    format = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, rate, names, name_set)
    rows = np.random.default_rng(seed).integers(0, 2, (count, len(names))).astype(float)
    whole = poses(format, rows, [count])
    for sizes in ([1], [7], [8], [30], random_sizes):
        np.testing.assert_array_equal(poses(format, rows, sizes), whole)


def test_a_keyframe_is_shown_as_it_was_sent() -> None:
    """A jaw that snaps shut at the border of two payloads is shut there."""
    format = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 30.0, ("jawOpen",))
    rows = np.repeat([[0.5], [0.0]], 15, axis=0)
    stream = MotionStream(make_motion_decoder(format), format)
    for seq, start in enumerate((0, 15), 1):
        payload = Payload(Kind.MOTION, seq, weights.write(rows[start : start + 15]), start * 1_000_000 // 30, 500_000)
        decoded = stream.decode(payload)
        assert isinstance(decoded, np.ndarray)
        stream.place(payload, decoded, 0)
    shown = [stream.track.sample(round(index * 1e6 / 30)) for index in range(30)]
    np.testing.assert_allclose([sample.pose[24] for sample in shown if sample], rows[:, 0], atol=1e-4)
