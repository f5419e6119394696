"""Make the demo clip: scripts/assets/make_demo_clip.py [OUT.wav]

Spoken by espeak-ng, 16 kHz mono, with a short silence before and after, which shows the mouth at rest.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from relay_server.sources import espeak
from tests.lab.tool import command_line

TEXT = "Hello! I am a talking face, and my lips move with every word."
VOICE = "en-us+f2"
RATE_HZ = 16_000
SILENCE_S = 0.3
OUT = Path(__file__).parents[2] / "relay_server" / "sources" / "assets" / "demo.wav"


def main() -> None:
    """Synthesise the speech, resample it, and write the file."""
    parser = command_line("assets/make_demo_clip", __doc__)
    parser.add_argument("out", nargs="?", type=Path, default=OUT)
    out: Path = parser.parse_args().out
    spoken = espeak.load().speak(TEXT, espeak.Voice(VOICE))
    speech = soxr.resample(spoken.samples, spoken.rate_hz, RATE_HZ)
    silence = np.zeros(round(SILENCE_S * RATE_HZ), np.int16)
    soundfile.write(out, np.concatenate((silence, speech, silence)), RATE_HZ, subtype="PCM_16")
    print(f"wrote {out}: {soundfile.info(out).duration:.2f} s, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
