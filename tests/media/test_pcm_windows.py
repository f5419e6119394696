"""PCM of all kinds is never mistaken for a container, at any offset."""

from __future__ import annotations

import base64
import json
import sys
import wave

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.avatar_relay.sound.test_containers import refused, sounds
from tests.lab.data import debian_speech, shared_data


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_ten_million_windows_of_pcm() -> None:
    """Synthetic sounds, human speech and a recorded conversation, at all offsets."""
    kinds = sounds(40)
    with wave.open(str(debian_speech("data/librivox/sense_and_sensibility_01_austen_64kb-0880.wav"))) as file:
        kinds["librivox"] = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    for name in ("goforward.raw", "numbers.raw", "something.raw"):
        kinds[name] = np.fromfile(debian_speech(f"data/{name}"), "<i2")
    kinds["recording"] = recorded()
    count = 0
    for name, samples in kinds.items():
        for gain in (1.0, 0.37):
            scaled = (samples * gain).astype(np.int16)
            assert refused(scaled, 1) == [], name
            count += 2 * len(scaled)
    sys.stdout.write(f"{count} windows, 0 refused\n")
    assert count >= 10_000_000


def recorded() -> NDArray[np.int16]:
    """The recorded conversation's sound, repeated as necessary."""
    recording = json.loads(shared_data("avatarkit-recording-16k.json").read_text())
    samples = np.frombuffer(base64.b64decode(recording["audio_base64"]), "<i2")
    return np.tile(samples, 2)
