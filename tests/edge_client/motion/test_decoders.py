"""Which decoder reads which format, and the whole path from real motion to a mouth."""

from __future__ import annotations

import base64
import json

import numpy as np

from avatar_relay import weights
from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.media import MotionEncoding, MotionFormat
from edge_client.motion.avatarkit import EXPRESSION_SIZE, FlameMap
from edge_client.motion.decoders import make_motion_decoder
from tests.lab.data import shared_data
from tests.lab.recordings import motion_messages


def test_avatarkit() -> None:
    """AvatarKit's messages, one pose per keyframe."""
    decoder = make_motion_decoder(MotionFormat(MotionEncoding.AVATARKIT_V2))
    assert [len(decoder.decode(message)) for message in motion_messages((50, 100, 57))] == [50, 100, 57]


def test_avatarkit_by_a_map_of_ones_own() -> None:
    """An integrator's map replaces the built-in one."""
    offset = np.array([0.25], np.float32)
    own = FlameMap(np.zeros((EXPRESSION_SIZE, 1), np.float32), offset, np.array([ARKIT_INDEX["mouthPucker"]], np.intp))
    poses = make_motion_decoder(MotionFormat(MotionEncoding.AVATARKIT_V2), own).decode(motion_messages((50,))[0])
    assert (poses[:, ARKIT_INDEX["mouthPucker"]] == 0.25).all()
    assert (poses[:, ARKIT_INDEX["mouthFunnel"]] == 0).all()


def test_blendshape_weights() -> None:
    """Names come from the format."""
    decoder = make_motion_decoder(MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 30.0, ("tongueOut", "jawOpen")))
    assert decoder.decode(weights.write([[0.0, 0.5]]))[0, ARKIT_INDEX["jawOpen"]] == 0.5


def test_real_motion_speaks() -> None:
    """On the real recording the jaw is open during speech and rests in silence."""
    document = json.loads(shared_data("avatarkit-recording-16k.json").read_text())
    decoder = make_motion_decoder(MotionFormat(MotionEncoding.AVATARKIT_V2))
    poses = np.vstack([decoder.decode(base64.b64decode(text)) for text in document["animation_messages_base64"]])
    samples = np.frombuffer(base64.b64decode(document["audio_base64"]), "<i2").astype(np.float64)
    frames = document["sample_rate"] // 25
    level = np.array([np.sqrt(np.mean(samples[n * frames : (n + 1) * frames] ** 2)) for n in range(len(poses))])
    jaw = poses[:, ARKIT_INDEX["jawOpen"]]
    assert len(poses) == 507
    assert jaw[level > 1_000].mean() > 0.15
    assert jaw[level < 50].mean() < 0.03
