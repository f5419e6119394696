"""Scores how well the mouth matches the sound in ten languages: tests/lab/mouth/score_languages.py [--voice VOICE ...]

The source `speech` speaks sentences in ten languages, which are scored as in `score.py`; phonemes without a shape are listed. Exits with
status 1 if such a phoneme exists, or if a language in Latin script has less than 85 % of vowels open, 95 % of pauses shut or 70 % of
bilabials closed. The other languages are only printed.
"""

from __future__ import annotations

from dataclasses import dataclass

from avatar_relay.mouth.visemes import unknown_letters
from tests.lab.mouth.score import Score, judge_speech, phonemes_of_text
from tests.lab.tool import command_line

LATIN = ("de", "fr", "es", "it", "pl", "tr")
LEAST_OPEN, LEAST_SHUT, LEAST_CLOSED = 0.85, 0.95, 0.70
TEXTS: dict[str, tuple[str, ...]] = {
    "de": (
        "Guten Morgen! Meine Mutter backt am Abend Pflaumenkuchen mit Mandeln. Probieren Sie bitte ein Stück.",
        "Über die Brücke fährt ein großer Zug. Bäume, Blumen und Pferde sieht man am Weg.",
    ),
    "fr": (
        "Bonjour, ma petite maman prépare une bonne soupe aux pommes de terre. Elle est belle.",
        "Un bon vin blanc, s'il vous plaît. Le bébé mange un peu de pain beurré.",
    ),
    "es": (
        "Buenos días. El pequeño niño bebe mucha agua y come pan con tomate.",
        "¿Dónde está mi perro? Mañana vamos a la playa para ver los barcos.",
    ),
    "it": (
        "Buongiorno. La mamma prepara gli gnocchi con il basilico e il pomodoro.",
        "Un bel bambino beve un po' di acqua. Domani piove, porta l'ombrello.",
    ),
    "pl": (
        "Dzień dobry. Mama kupiła piękny chleb i białe mleko na śniadanie.",
        "W Szczebrzeszynie chrząszcz brzmi w trzcinie. Proszę pana, gdzie jest poczta?",
    ),
    "tr": (
        "Günaydın. Büyük bir köpek ağacın altında uyuyor. Annem bize pilav pişirdi.",
        "Bu sabah pazara bal, peynir ve elma almaya gittim.",
    ),
    "ja": ("おはようございます。わたしはみずをのみます。", "まいばんほんをよみます。パンもたべました。"),
    "cmn": ("早上好。我的妈妈每天喝茶。", "爸爸买了面包和苹果。"),
    "ar": ("صباح الخير. أحب القهوة العربية كثيرا.", "مرحبا بكم في بيتنا. أمي تطبخ الطعام."),
    "hi": ("नमस्ते। मेरा नाम बालक है। मुझे पानी चाहिए।", "मेरी माँ बाज़ार से फल और पपीता लाई।"),
}


@dataclass(frozen=True, slots=True)
class LanguageScore:
    """One language: its score, and the letters of phonemes without a shape."""

    voice: str
    score: Score
    unknown: str

    @property
    def is_good(self) -> bool:
        """Whether every phoneme has a shape and, for languages in Latin script, the limits are met."""
        score = self.score
        reached = score.vowels_open >= LEAST_OPEN and score.silence_shut >= LEAST_SHUT and score.bilabials_close >= LEAST_CLOSED
        return not self.unknown and (reached or self.voice not in LATIN)

    def __str__(self) -> str:
        return f"{self.voice:4} {self.score} | without a shape: {self.unknown or 'none'}{'' if self.is_good else '  BELOW'}"


def judge(voice: str) -> LanguageScore:
    """Speak the sentences of one language. Blocks."""
    texts = TEXTS[voice]
    unknown = {letter for text in texts for phoneme in phonemes_of_text(text, voice) for letter in unknown_letters(phoneme.ipa)}
    return LanguageScore(voice, judge_speech(texts, (voice,)), "".join(sorted(unknown)))


def main() -> None:
    """Print the scores."""
    parser = command_line("mouth/score_languages", __doc__)
    parser.add_argument("--voice", nargs="+", choices=TEXTS, default=tuple(TEXTS), metavar="VOICE", help=f"some of {' '.join(TEXTS)}")
    good = True
    for voice in parser.parse_args().voice:
        found = judge(voice)
        print(found, flush=True)
        good = good and found.is_good
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
