"""Compares mouth motion from the payloads, from the sound, and from both.

Reads a recorded AvatarKit conversation and judges each `mouth_source` of the edge client against an aligner's phoneme times
(pocketsphinx, from PyPI, model included): were the lips apart on a vowel, together in a pause, and did they close for p, b and m?
The client's own decoder, track, ear and rig are used; the opening is that of the drawn head, relative to the wide open mouth. With
`--pictures`, lips count as apart if pixels between them show a gap, at 480x480. Without `--transcript` the words are recognised:
some of them wrongly, but with mostly correct sounds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.limits import AVATARKIT_KEYFRAMES_PER_SECOND
from edge_client.cast import head_file
from edge_client.face.head import load_head
from edge_client.face.rig import Rig
from edge_client.face.screens import open_face
from edge_client.motion.audio_mouth import AudioMouth, with_mouth
from edge_client.motion.avatarkit import AvatarKitDecoder, default_flame_map
from edge_client.motion.borders import WindowedTrack
from edge_client.motion.pose import Pose, neutral_pose
from relay_server.sources.coarticulation import Phoneme
from relay_server.sources.recording import Recording, load_recording
from tests.lab.face.pixels import mouth_opening_px
from tests.lab.mouth.score import Judged, Score, phonemes_of_sound, recognised, score
from tests.lab.tool import command_line

SHARES = {"payload": 0.0, "blend 0.3": 0.3, "blend 0.6": 0.6, "blend 0.8": 0.8, "audio": 1.0}
_PER_SECOND = 100.0


Openings = Callable[[Sequence[Pose]], NDArray[np.float64]]
"""Maps poses to lip openings: 0 shut, about 1 wide open."""


def judge(recording: Recording, phonemes: Sequence[Phoneme], openings: Openings) -> dict[str, Score]:
    """Return a score for each share of the sound in the mouth motion."""
    poses = {share: _poses(recording, share) for share in SHARES.values()}
    return {name: score([Judged(tuple(phonemes), openings(poses[share]), _PER_SECOND)]) for name, share in SHARES.items()}


def _poses(recording: Recording, share: float) -> list[Pose]:
    """The poses that a client shows, `_PER_SECOND` per second."""
    track, decoder = WindowedTrack(AVATARKIT_KEYFRAMES_PER_SECOND), AvatarKitDecoder(default_flame_map())
    for message in recording.messages:
        track.add(track.length_us, decoder.decode(message))
    pcm = np.frombuffer(recording.audio, "<i2")
    ear = AudioMouth(recording.sample_rate_hz, share)
    for start in range(0, len(pcm), recording.sample_rate_hz):
        ear.hear(start * 1e6 / recording.sample_rate_hz, pcm[start : start + recording.sample_rate_hz])
        while ear.analyse():
            pass
    ear.end()
    ear.analyse()
    shown: list[Pose] = []
    for step in range(int(len(pcm) / recording.sample_rate_hz * _PER_SECOND)):
        pts_us = round(step * 1e6 / _PER_SECOND)
        said, heard = track.sample(pts_us), ear.sample(pts_us)
        pose = said.pose if said is not None else neutral_pose()
        shown.append(with_mouth(pose, heard.pose, share) if heard is not None and share > 0 else pose)
    return shown


def seen(poses: Sequence[Pose], head_file: Path | None = None) -> NDArray[np.float64]:
    """1 for each pose whose picture shows the lips apart, 0 if they touch."""
    renderer = open_face(choice="gles", size=(480, 480), fullscreen=False, headless=True, head_file=head_file).renderer
    found: list[bool] = []
    for pose in poses:
        renderer.draw(pose)
        found.append(mouth_opening_px(renderer.read()) > 0)
    renderer.close()
    return np.array(found, np.float64)


def opened(poses: Sequence[Pose], head_file: Path | None = None) -> NDArray[np.float64]:
    """Opening of the drawn lips, from 0 (shut) to about 1 (jaw wide open)."""
    rig = Rig(load_head(head_file))
    wide = neutral_pose()
    wide[ARKIT_INDEX["jawOpen"]] = 1.0
    rest, full = rig.lip_gap(neutral_pose()), rig.lip_gap(wide)
    return np.array([max(0.0, (rig.lip_gap(pose) - rest) / (full - rest)) for pose in poses])


def main() -> int:
    """Print the scores."""
    parser = command_line("mouth/score_sources", __doc__)
    parser.add_argument("recording", type=Path, metavar="RECORDING.json")
    parser.add_argument("--transcript", default="", help="what is said, in lower case; recognised where it is left out")
    parser.add_argument("--pictures", action="store_true", help="look at pixels instead of the mesh")
    parser.add_argument("--head", type=head_file, metavar="NAME|FILE", help="which head (default: the one of the setting)")
    arguments = parser.parse_args()
    recording = load_recording(arguments.recording)
    samples = np.frombuffer(recording.audio, "<i2")
    transcript = arguments.transcript or recognised(samples)
    print(f"aligned: {transcript}")
    openings = partial(seen if arguments.pictures else opened, head_file=arguments.head)
    for name, found in judge(recording, phonemes_of_sound(samples, transcript), openings).items():
        print(f"{name:10}", found, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
