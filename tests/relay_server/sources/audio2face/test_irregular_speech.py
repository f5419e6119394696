"""Speech whose source reports irregularities."""

from __future__ import annotations

import pytest

from avatar_relay.reasons import Fault, Reason
from relay_server.sources.source import Irregularity
from tests.lab.services.audio2face import Audio2FaceService, Trouble
from tests.relay_server.sources.audio2face.speakers import HELLO, Speaker, against, noise
from tests.relay_server.sources.performances import read_all


@pytest.mark.parametrize("trouble", [Trouble.NONE, Trouble.NEVER_ANSWERS], ids=lambda trouble: trouble.name)
async def test_what_is_irregular_about_the_speech_is_told(trouble: Trouble) -> None:
    """All of it is reported, with or without motion."""
    irregular = Irregularity(Fault(Reason.AUDIO_IRREGULAR, "odd", "file"))
    async with against(Audio2FaceService(trouble), Speaker(noise(0.5), irregular=irregular)) as source:
        performed = await read_all(await source.perform(HELLO))
    assert performed.told == ("odd",) * 5
    assert performed.audio == noise(0.5)
