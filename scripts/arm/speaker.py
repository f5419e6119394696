"""The speaker by itself on the emulated aarch64: its own PortAudio and ALSA play into a file, fed from this machine.

Parent and child share memory across the two architectures, which also checks that its layout is the same on both.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from edge_client.audio.sink import Pcm
from edge_client.audio.speaker.channel import DeviceOpened, Settings
from edge_client.audio.speaker.child import SpeakerChild
from edge_client.audio.speaker.memory import GAIN_ONE, SpeakerControl, SpeakerMemory, SpeakerStatus

RATE_HZ = 48_000
SECONDS = 3
DEADLINE_S = 60.0
# `type file` over `null` does not run in real time, so silence is inserted; the check is that all samples arrive, in order.
ALSA_CONFIG = """
<{alsa_conf}>
pcm.filed {{ type file  slave.pcm "null"  file "{played}"  format raw }}
"""


def play(samples: Pcm) -> str:
    """Play in the child process; returns the name of the device that it opened."""
    told: list[DeviceOpened] = []
    process = SpeakerChild(Settings("filed", RATE_HZ, 480), _begin, lambda _, opened: told.append(opened))
    memory = process.memory
    deadline = time.monotonic() + DEADLINE_S
    while not told:
        if (how := process.exit_text()) or time.monotonic() > deadline:
            raise SystemExit(f"the speaker did not open its device: {how or f'nothing within {DEADLINE_S:g} s'}")
        time.sleep(0.05)
    deadline = time.monotonic() + DEADLINE_S
    while len(samples) or memory[SpeakerStatus.CONSUMED] < memory[SpeakerControl.WRITTEN]:
        if time.monotonic() > deadline:
            raise SystemExit(f"the speaker took {memory[SpeakerStatus.CONSUMED]} of {SECONDS * RATE_HZ} frames within {DEADLINE_S:g} s")
        free = memory.free_frames
        memory.write(samples[:free])
        samples = samples[free:]
        time.sleep(0.005)
    time.sleep(1.0)  # the last samples consumed are still in PortAudio's buffers
    process.kill()
    process.close()
    return f"{told[0].device}, {told[0].channels} channel(s)"


def _begin(memory: SpeakerMemory) -> None:
    memory[SpeakerControl.GAIN] = GAIN_ONE
    memory[SpeakerControl.EXPECTED] = 1


def main(arm_python: str, alsa_conf: str) -> None:
    """Play noise without zeros, and compare the file's non-silent samples."""
    sent = np.random.default_rng(1).integers(1, 30_000, SECONDS * RATE_HZ, np.int16)
    with tempfile.TemporaryDirectory() as folder:
        played, config = Path(folder, "played.raw"), Path(folder, "asound.conf")
        config.write_text(ALSA_CONFIG.format(alsa_conf=alsa_conf, played=played))
        launcher = Path(folder, "python")
        launcher.write_text(f'#!/bin/sh\nALSA_CONFIG_PATH="{config}" exec "{arm_python}" "$@"\n')
        launcher.chmod(0o755)
        sys.executable = str(launcher)
        device = play(sent)
        heard = np.fromfile(played, np.int16)
    heard = heard[heard != 0]
    if not np.array_equal(heard, sent):
        raise SystemExit(f"the speaker played {len(heard)} samples of {len(sent)}, or other ones")
    print(f"  the speaker played {SECONDS} s on {device}: all {len(sent)} samples, in order")


if __name__ == "__main__":
    main(*sys.argv[1:])
