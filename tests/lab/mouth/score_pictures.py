"""Scores how well the visible mouth matches the sound.

Like `scripts/mouth/score`, but on the pictures: relay and edge client play each piece in real time, and the gap between the lips is
measured in pixels on every picture shown. The lips must be apart on a vowel, together in a pause, and close for p, b and m.
`speech` is judged by espeak-ng's own phoneme times, `local` on human speech by pocketsphinx's alignment. A recorded AvatarKit
conversation is judged once for each mouth source, by its words as recognised by pocketsphinx.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_client.face.screens import RendererChoice
from edge_client.motion.mouth_source import MouthSource
from relay_server.sources.coarticulation import Phoneme
from relay_server.sources.local.source import LocalSource
from relay_server.sources.recording import RecordingSource, load_recording
from relay_server.sources.source import FileSpeech, TextSpeech
from relay_server.sources.speech import SpeechSource
from tests.lab.backend import Script
from tests.lab.mouth.on_pictures import watch_mouth
from tests.lab.mouth.score import TEXTS, Judged, Score, clips, phonemes_of_clip, phonemes_of_sound, phonemes_of_text, recognised, score
from tests.lab.tool import command_line

LOOKS_PER_SECOND = 200.0
SOURCES = (MouthSource.PAYLOAD, MouthSource.BLEND, MouthSource.AUDIO)


def looked_at(
    phonemes: tuple[Phoneme, ...], script: Script, renderer: RendererChoice, mouth_source: MouthSource = MouthSource.AUTO
) -> Judged:
    """Play a piece, and return the state of the visible lips at each time of the sound: 1 apart, 0 together."""
    seen = watch_mouth(script, renderer, mouth_source=mouth_source)
    times_s = np.arange(0.0, phonemes[-1].end_s, 1 / LOOKS_PER_SECOND)
    return Judged(phonemes, (seen.opening_at(times_s) > 0).astype(np.float64), LOOKS_PER_SECOND)


def judge_speech(texts: tuple[str, ...], renderer: RendererChoice) -> Score:
    """Score the source `speech`."""
    return score([looked_at(phonemes_of_text(text), Script(SpeechSource(), TextSpeech(text), text), renderer) for text in texts])


def judge_people(found: list[tuple[Path, str]], renderer: RendererChoice) -> Score:
    """Score the source `local` on recorded clips with their transcripts."""
    return score(
        [looked_at(phonemes_of_clip(path, said), Script(LocalSource(), FileSpeech(path), path.name), renderer) for path, said in found]
    )


def judge_recording(path: Path, renderer: RendererChoice, mouth_source: MouthSource) -> Score:
    """Score a recorded AvatarKit conversation."""
    samples = np.frombuffer(load_recording(path).audio, "<i2")
    phonemes = phonemes_of_sound(samples, recognised(samples))
    return score([looked_at(phonemes, Script(RecordingSource(), FileSpeech(path), path.name), renderer, mouth_source)])


def main() -> None:
    """Print the scores."""
    parser = command_line("mouth/score_pictures", __doc__)
    parser.add_argument("--clips", type=int, default=4, help="how many of pocketsphinx-testdata's clips to play")
    parser.add_argument("--renderer", choices=("gles", "flat"), default="gles")
    parser.add_argument("--recording", type=Path, metavar="FILE", help="judge this recorded AvatarKit conversation instead")
    arguments = parser.parse_args()
    if arguments.recording is not None:
        for mouth_source in SOURCES:
            print(f"{mouth_source:8}", judge_recording(arguments.recording, arguments.renderer, mouth_source), flush=True)
        return
    print("speech, on the pictures:                 ", judge_speech(TEXTS, arguments.renderer), flush=True)
    print("local on people's speech, on the pictures:", judge_people(clips()[: arguments.clips], arguments.renderer))


if __name__ == "__main__":
    main()
