"""`edge-client self-test`: whether this release works on this machine, without its card, its screen or a relay.

The installer runs it before a new release replaces an old one.
"""

from __future__ import annotations

from collections.abc import Iterator

from edge_client.checkup.findings import Finding, Health, finding
from edge_client.checkup.trials import SELF_TEST, run_trial

_ADVICE = {
    "network": "install libopus0, then install this release again",
    "speaker": "install libportaudio2 and libasound2, then install this release again",
    "clip": "look at the parts network and speaker first; else report this line",
    "gles": "apt install libegl1 libgles2 libgl1-mesa-dri libgbm1; on a very slow machine, try --within 300",
    "flat": "install this release again; else report this line",
}


def self_test(limit_s: float) -> Iterator[Finding]:
    """Yield each finding as soon as it is known; takes some seconds, and at most `limit_s` for each."""
    for name in SELF_TEST:
        works, text = run_trial(name, limit_s=limit_s)
        yield finding(name, Health.OK if works else Health.FAILED, text, "" if works else _ADVICE[name])
