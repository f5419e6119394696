"""Scores how well the mouth matches the sound: tests/lab/mouth/score.py [--clips DIR] [--text TEXT ...]

For each phoneme of some speech: were the lips apart on a vowel, together in a pause, and did they close for p, b and
m? Weights are interpolated between keyframes, as a player shows them.

- `speech`: built-in sentences, against the phoneme times of espeak-ng.
- `local` on the same sentences, from the sound alone.
- `local` on human speech: the clips of Debian's `pocketsphinx-testdata` with their transcripts, aligned to
  phonemes by pocketsphinx (from PyPI, model included). Skipped with a message if either is missing.

`phonemes_of_text` and `phonemes_of_clip` return the intervals, also for measurements on pictures.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from avatar_relay import weights
from avatar_relay.mouth.analyser import MouthAnalyser
from avatar_relay.mouth.shapes import BLENDSHAPE_NAMES, KEYFRAMES_PER_SECOND, to_weights
from avatar_relay.mouth.visemes import is_bilabial, is_vowel
from relay_server.sources import espeak
from relay_server.sources.coarticulation import Phoneme
from relay_server.sources.local.source import LocalSource
from relay_server.sources.source import FileSpeech, MotionChunk, Performance, TextSpeech
from relay_server.sources.speech import SpeechSource, split_text
from tests.lab.mouth.lip_opening import OPEN_FROM, SHUT_BELOW, lip_opening
from tests.lab.tool import command_line

CLIPS = Path("/usr/share/pocketsphinx/test/data")
TRANSCRIPTS = ("librivox/transcription", "cards/cards.transcription")
VOICES = ("en-us", "en-us+f2", "en-us+m3")
TEXTS = (
    "Bob might pop five more purple balloons, but my mother made plum jam.",
    "Peter brought a big map of the public park, and I bumped into him by the pump.",
    "We were away a year ago, when the weather was much warmer than today.",
    "Please tell me about your problem; maybe somebody can help you before supper.",
)

CLOSURE_TOLERANCE_S = 0.04
"""A closure may be this far before or after its phoneme's interval: one keyframe, which is also the accuracy of aligners."""
PAUSE_MARGIN_S = 0.12
"""Lips still move for this time after the last sound and before the next; shorter pauses are not judged."""

_VOWELS = frozenset(["AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"])
_ARPABET_IPA = {"P": "p", "B": "b", "M": "m", "SIL": "", "+SPN+": "", "+NSN+": ""}


@dataclass(frozen=True, slots=True)
class Score:
    """Shares from 0 to 1, and the number of intervals behind each; `others_shut` covers consonants except p, b and m."""

    vowels_open: float
    vowels: int
    silence_shut: float
    pauses: int
    bilabials_close: float
    bilabials: int
    others_shut: float
    others: int

    def __str__(self) -> str:
        parts = (
            f"vowels open {self.vowels_open:4.0%} of {self.vowels:3d}",
            f"silence shut {self.silence_shut:4.0%} of {self.pauses:2d} pauses",
            f"bilabials close {self.bilabials_close:4.0%} of {self.bilabials:3d}",
            f"other consonants closed {self.others_shut:4.0%} of {self.others:3d}",
        )
        return " | ".join(parts)


@dataclass(frozen=True, slots=True)
class Judged:
    """One clip: its phonemes, and the lip opening at each keyframe."""

    phonemes: tuple[Phoneme, ...]
    opening: NDArray[np.float64]
    keyframes_per_second: float = KEYFRAMES_PER_SECOND


def phonemes_of_text(text: str, voice: str = "en-us") -> tuple[Phoneme, ...]:
    """Phonemes of a text as the source `speech` speaks it, with espeak-ng's times. Blocks."""
    library = espeak.load()
    phonemes: list[Phoneme] = []
    offset_s = 0.0
    for piece in split_text(text):
        spoken = library.speak(piece, espeak.Voice(voice))
        phonemes += [Phoneme(p.ipa, p.start_s + offset_s, p.end_s + offset_s) for p in spoken.phonemes]
        offset_s += spoken.samples.size / spoken.rate_hz
    return tuple(phonemes)


def phonemes_of_clip(path: Path, transcript: str) -> tuple[Phoneme, ...]:
    """Phonemes of a recorded clip (16 kHz mono), aligned by pocketsphinx; vowels are "a". Blocks; needs pocketsphinx."""
    samples, rate_hz = soundfile.read(path, dtype="int16")
    if rate_hz != 16_000:
        raise ValueError(f"{path.name} is at {rate_hz} Hz; the aligner's model is for 16000 Hz")
    return phonemes_of_sound(samples, transcript)


def phonemes_of_sound(samples: NDArray[np.int16], transcript: str) -> tuple[Phoneme, ...]:
    """Phonemes of samples at 16 kHz, aligned as in `phonemes_of_clip`."""
    import pocketsphinx  # needed only for scoring

    decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL")
    decoder.set_align_text(transcript)
    for phonemes_too in (False, True):
        if phonemes_too:
            decoder.set_alignment()
        decoder.start_utt()
        decoder.process_raw(samples.tobytes(), full_utt=True)
        decoder.end_utt()
    return tuple(
        Phoneme(_ipa(phone.name), phone.start / 100, (phone.start + phone.duration) / 100)
        for word in decoder.get_alignment()
        for phone in word
    )


def recognised(samples: NDArray[np.int16]) -> str:
    """The words of English speech at 16 kHz, as recognised by pocketsphinx. Blocks; needs pocketsphinx."""
    import pocketsphinx

    decoder = pocketsphinx.Decoder(loglevel="FATAL")
    decoder.start_utt()
    decoder.process_raw(samples.tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return "" if found is None else str(found.hypstr)


def clips(folder: Path = CLIPS) -> list[tuple[Path, str]]:
    """The clips of pocketsphinx-testdata with their transcripts."""
    found: list[tuple[Path, str]] = []
    for transcript in TRANSCRIPTS:
        for line in (folder / transcript).read_text().splitlines():
            match = re.fullmatch(r"<s>(.*)</s>\s*\((\S+)\)", line.strip())
            if match:
                found.append(((folder / transcript).parent / f"{match[2]}.wav", match[1].strip()))
    return found


def score(judged: Sequence[Judged]) -> Score:
    """Judge every interval of all clips."""
    vowels: list[float] = []
    pauses: list[float] = []
    bilabials: list[float] = []
    others: list[float] = []
    for clip in judged:
        times = np.arange(0.0, clip.opening.size / clip.keyframes_per_second, 0.005)
        shown = np.interp(times * clip.keyframes_per_second, np.arange(clip.opening.size), clip.opening)
        for phoneme in clip.phonemes:
            start, end = phoneme.start_s, phoneme.end_s
            if not phoneme.ipa:
                inside = shown[(times >= start + PAUSE_MARGIN_S) & (times <= end - PAUSE_MARGIN_S)]
                pauses += [float(np.mean(inside < SHUT_BELOW))] if inside.size else []
                continue
            around = shown[(times >= start - CLOSURE_TOLERANCE_S) & (times <= end + CLOSURE_TOLERANCE_S)]
            if not around.size:
                continue
            if is_vowel(phoneme.ipa):
                vowels.append(bool(shown[(times >= start - 0.005) & (times <= end + 0.005)].max(initial=0.0) > OPEN_FROM))
            else:
                (bilabials if is_bilabial(phoneme.ipa) else others).append(bool(around.min() < SHUT_BELOW))
    return Score(_share(vowels), len(vowels), _share(pauses), len(pauses), _share(bilabials), len(bilabials), _share(others), len(others))


def judge_speech(texts: Sequence[str], voices: Sequence[str]) -> Score:
    """Score the source `speech`."""
    return score(
        [
            Judged(phonemes_of_text(text, voice), asyncio.run(_performed(SpeechSource(espeak.Voice(voice)), TextSpeech(text))))
            for voice in voices
            for text in texts
        ]
    )


def judge_local_on_synthetic(texts: Sequence[str], voices: Sequence[str]) -> Score:
    """Score the analyser of the source `local` on the sound of espeak-ng alone."""
    judged = []
    for voice in voices:
        for text in texts:
            spoken = espeak.load().speak(text, espeak.Voice(voice))
            analyser = MouthAnalyser(spoken.rate_hz)
            mouths = np.vstack((analyser.push(spoken.samples / 32_768), analyser.finish()))
            judged.append(Judged(spoken.phonemes, lip_opening(to_weights(mouths))))
    return score(judged)


def judge_local_on_people(found: Sequence[tuple[Path, str]]) -> Score:
    """Score the source `local` on recorded clips."""
    return score(
        [Judged(phonemes_of_clip(path, transcript), asyncio.run(_performed(LocalSource(), FileSpeech(path)))) for path, transcript in found]
    )


async def _performed(source: SpeechSource | LocalSource, speech: TextSpeech | FileSpeech) -> NDArray[np.float64]:
    performance: Performance = await source.perform(speech)
    rows = [weights.read(item.data, len(BLENDSHAPE_NAMES)) async for item in performance.items if isinstance(item, MotionChunk)]
    return lip_opening(np.vstack(rows))


def _ipa(arpabet: str) -> str:
    return "a" if arpabet in _VOWELS else _ARPABET_IPA.get(arpabet, "t")


def _share(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def main() -> None:
    """Print the scores."""
    parser = command_line("mouth/score", __doc__)
    parser.add_argument("--clips", type=Path, default=CLIPS, help="folder of pocketsphinx-testdata")
    parser.add_argument("--text", nargs="+", default=TEXTS, help="sentences to speak")
    arguments = parser.parse_args()
    print("speech, espeak-ng's phoneme times: ", judge_speech(arguments.text, VOICES), flush=True)
    print("local on the sound of espeak-ng:   ", judge_local_on_synthetic(arguments.text, VOICES), flush=True)
    try:
        import pocketsphinx  # noqa: F401 # only checks that it is installed
    except ImportError:
        print("local on people's speech: left out, no aligner (pip install pocketsphinx)")
        return
    if not arguments.clips.is_dir():
        print(f"local on people's speech: left out, no clips in {arguments.clips} (apt-get install pocketsphinx-testdata)")
        return
    print("local on people's speech, aligned: ", judge_local_on_people(clips(arguments.clips)))


if __name__ == "__main__":
    main()
