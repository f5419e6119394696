"""Trials, each in its own process: `python -m edge_client.checkup.trials NAME` prints its result as a line of JSON.

Libraries for sound and pictures may hang, abort or be missing; then only that trial fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np

from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat
from avatar_relay.messages import Finished
from edge_client.children.child import child_environment
from edge_client.config import EdgeConfig
from edge_client.errors import EdgeError
from edge_client.face.pictures import PictureObserver
from edge_client.lip_sync.meter import ALARM_EARLY_US, ALARM_LATE_US
from edge_client.lip_sync.watch import SkewWatch
from edge_client.motion.pose import BLENDSHAPES, neutral_pose
from edge_client.player import Player, PlayerCallbacks

LIMIT_S = 60.0
"""Time limit of a trial. It usually takes a few seconds, and more from a cold SD card."""
SIZE = (320, 240)
RATE_HZ, PACKET_FRAMES = 48_000, 960
CLIP_S, LIP_SYNC_S = 0.6, 2.0
KEYFRAMES_PER_SECOND = 25.0
_LEAST_CONTRAST = 5.0
"""Least standard deviation of a picture's levels, 0 to 255: a single colour has 0, a face more than 40."""
_LEAST_CHANGE = 0.05
"""Least mean change of the levels when the mouth opens wide."""
_ENOUGH_PICTURES = 10
_WIDE_OPEN = BLENDSHAPES.start + ARKIT_NAMES.index("jawOpen")


def try_network() -> str:
    """Import what the client's own process imports."""
    import edge_client.app  # noqa: F401
    from edge_client.audio.decoders import load_decoders

    load_decoders()
    return "gRPC, OpenTelemetry, soxr and Opus can be loaded"


def try_speaker() -> str:
    """Import what the process that plays imports."""
    import pyaudio

    from edge_client.audio.speaker.alsa import Alsa

    Alsa()
    return f"{pyaudio.get_portaudio_version_text().partition(',')[0]} and ALSA can be loaded"


def try_clip() -> str:
    """Play an Opus clip through decoder, playback and a virtual sink."""
    heard = _play(CLIP_S, moves=False, observers=())
    return f"{heard.position_us / 1e6:.2f} s of sound were decoded and played into a virtual sink"


def try_gles() -> str:
    """Draw a picture with the GLES renderer."""
    return _try_renderer("gles")


def try_flat() -> str:
    """Draw a picture with the vector face."""
    return _try_renderer("flat")


def try_lip_sync() -> str:
    """Play a conversation with motion, face off-screen, and measure the skew with the client's own meter."""
    watch = SkewWatch()
    _play(LIP_SYNC_S, moves=True, observers=(watch,))
    stats = watch.meter.at_heard.stats()
    pictures = watch.meter.at_pictures.stats().count
    if pictures < _ENOUGH_PICTURES:
        raise EdgeError(f"only {pictures} pictures were drawn in {LIP_SYNC_S:g} s: the machine is too slow, or too busy")
    early_ms, late_ms = ALARM_EARLY_US / 1_000, -ALARM_LATE_US / 1_000
    if not -late_ms <= stats.p50_ms <= early_ms:
        raise EdgeError(f"the mouth is off by {stats.p50_ms:.0f} ms; people notice {early_ms:.0f} ms early or {late_ms:.0f} ms late")
    return f"skew {stats.p50_ms:+.0f} ms in the middle, at most {stats.max_abs_ms:.0f} ms (virtual sink, face off-screen)"


TRIALS: dict[str, Callable[[], str]] = {
    "network": try_network,
    "speaker": try_speaker,
    "clip": try_clip,
    "gles": try_gles,
    "flat": try_flat,
    "lip-sync": try_lip_sync,
}
SELF_TEST = ("network", "speaker", "clip", "gles", "flat")


def run_trial(name: str, *, command: Sequence[str] = (), limit_s: float = LIMIT_S) -> tuple[bool, str]:
    """Run a trial in a child process: whether it works, and its result, or why it failed. `command` replaces the child's in tests."""
    argv = list(command) or [sys.executable, "-P", "-m", "edge_client.checkup.trials", name]
    try:
        done = subprocess.run(
            argv, env=child_environment(os.environ), stdin=subprocess.DEVNULL, capture_output=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"did not answer within {limit_s:g} s"
    except OSError as error:
        return False, f"no process can be started for it: {error.strerror}"
    said = done.stdout.decode(errors="replace").strip().rpartition("\n")[2]
    try:
        answer = json.loads(said)
        return bool(answer["works"]), str(answer["text"])
    except (ValueError, TypeError, KeyError):
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        how = f"was killed by signal {-done.returncode}" if done.returncode < 0 else f"ended with exit code {done.returncode}"
        return False, f"its process {how}{f': {last}' if last else ''}"


def _play(seconds: float, *, moves: bool, observers: Sequence[PictureObserver]) -> Finished:
    """Play a tone as Opus, with a mouth that opens and closes if `moves`; returns how it ended. Raises `EdgeError` if not all was heard."""
    from edge_client.embedded import run_player

    over = asyncio.Event()
    outcomes: list[Finished] = []

    def finished(_: str, outcome: Finished) -> None:
        outcomes.append(outcome)
        over.set()

    async def application(player: Player) -> None:
        for packet in _opus_tone(seconds):
            conversation_id = await player.yield_audio_data(packet)
        if moves:
            await player.yield_frames_data([_speech_like(seconds)], conversation_id)
        await player.yield_audio_data(b"", end=True)
        async with asyncio.timeout(seconds + 20):
            await over.wait()

    config = EdgeConfig(headless=True, audio_sink="virtual", renderer="auto" if moves else "none", size=SIZE)
    run_player(
        application,
        config,
        audio_format=AudioFormat(Codec.OPUS, RATE_HZ),
        motion_format=MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, KEYFRAMES_PER_SECOND, ARKIT_NAMES) if moves else None,
        callbacks=PlayerCallbacks(on_finished=finished),
        observers=observers,
    )
    (outcome,) = outcomes
    if outcome.interrupted or outcome.position_us < 0.9 * seconds * 1e6:
        raise EdgeError(f"of {seconds:g} s of sound {outcome.position_us / 1e6:.2f} s were played: {outcome.reason}")
    return outcome


def _opus_tone(seconds: float) -> list[bytes]:
    """A tone of 440 Hz, in Opus packets."""
    from opuslib_next import APPLICATION_AUDIO, Encoder

    frames = round(seconds * RATE_HZ / PACKET_FRAMES) * PACKET_FRAMES
    tone = (8_000 * np.sin(2 * np.pi * 440 / RATE_HZ * np.arange(frames))).astype("<i2")
    encoder = Encoder(RATE_HZ, 1, APPLICATION_AUDIO)
    return [encoder.encode(part.tobytes(), PACKET_FRAMES) for part in tone.reshape(-1, PACKET_FRAMES)]


def _speech_like(seconds: float) -> bytes:
    """Weights of a mouth that opens and closes four times a second."""
    times = np.arange(round(seconds * KEYFRAMES_PER_SECOND)) / KEYFRAMES_PER_SECOND
    weights = np.zeros((len(times), len(ARKIT_NAMES)), "<f4")
    weights[:, ARKIT_NAMES.index("jawOpen")] = 0.5 - 0.5 * np.cos(2 * np.pi * 4 * times)
    return weights.tobytes()


def _try_renderer(choice: str) -> str:
    from edge_client.face.screens import open_renderer

    renderer = open_renderer(choice="gles" if choice == "gles" else "flat", size=SIZE, fullscreen=False, headless=True)
    shut, wide = neutral_pose(), neutral_pose()
    wide[_WIDE_OPEN] = 1.0
    pictures = []
    for pose in (shut, wide):
        renderer.draw(pose)
        pictures.append(renderer.read().astype(np.float32))
    contrast, change = float(pictures[0].std()), float(np.abs(pictures[1] - pictures[0]).mean())
    if contrast < _LEAST_CONTRAST or change < _LEAST_CHANGE:
        raise EdgeError(f"{renderer.name} draws no face: contrast {contrast:.1f}, and the open mouth changes {change:.3f} levels")
    return f"a picture was drawn by {renderer.name}"


def main(name: str) -> None:
    """Print the result; ends the process without closing anything in which a driver could hang."""
    try:
        answer = {"works": True, "text": TRIALS[name]()}
    except Exception as error:
        answer = {"works": False, "text": f"{error}" if isinstance(error, EdgeError) else f"{type(error).__name__}: {error}"}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
