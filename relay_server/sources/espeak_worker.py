"""The process in which espeak-ng runs: python -m relay_server.sources.espeak_worker

The library can crash on unusual text (seen: a segmentation fault on random Unicode), and it is not re-entrant. So it runs in its own
process, which answers one request after the other and ends at the end of its standard input.

A request is a line of JSON: `text`, `is_ssml`, `voice` (`name`, `rate`, `pitch`). An answer is two lengths (32-bit little-endian), JSON and
samples (16-bit little-endian): `rate_hz` and `phonemes` ([ipa, start, end] in seconds), or `error`, with `is_voice` for an unknown voice.
The first answer is sent without a request and contains the rate.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import BinaryIO

from relay_server.sources import espeak
from relay_server.sources.espeak import EspeakError, Voice, VoiceError

LENGTHS = struct.Struct("<II")


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until the end of `requests`."""
    try:
        library = espeak.load()
    except EspeakError as error:
        _answer(answers, {"error": str(error)})
        return
    _answer(answers, {"rate_hz": library.rate_hz, "phonemes": []})
    for line in requests:
        request = json.loads(line)
        try:
            spoken = library.speak(request["text"], Voice(**request["voice"]), is_ssml=request["is_ssml"])
        except EspeakError as error:
            _answer(answers, {"error": str(error), "is_voice": isinstance(error, VoiceError)})
            continue
        phonemes = [[phoneme.ipa, phoneme.start_s, phoneme.end_s] for phoneme in spoken.phonemes]
        _answer(answers, {"rate_hz": spoken.rate_hz, "phonemes": phonemes}, spoken.samples.astype("<i2").tobytes())


def _answer(answers: BinaryIO, document: dict[str, object], samples: bytes = b"") -> None:
    encoded = json.dumps(document).encode()
    answers.write(LENGTHS.pack(len(encoded), len(samples)) + encoded + samples)
    answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
