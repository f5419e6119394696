"""The unmodified Server SDKs against the stand-in Motion Server, through relay and playback."""

from __future__ import annotations

import pytest

from tests.relay_server.sources.avatarkit.motion_server import MotionServer
from tests.relay_server.sources.avatarkit.rig import rig, sound

SDKS = ("spatius", "spatialreal")


@pytest.mark.parametrize("sdk", SDKS)
async def test_motion_reaches_the_device_byte_for_byte(sdk: str) -> None:
    """The device decodes exactly the bytes of the WebSocket; they are shown, and the conversation finishes once, in full."""
    async with rig(sdk, MotionServer()) as house:
        conversation_id = await house.speak(sound(7.3))
        seen = house.device.seen[conversation_id]
        (request,) = house.server.requests.values()
        assert bytes(request.audio) == sound(7.3)
        assert [len(data) > 0 for data in request.sent] == [True] * 3
        assert seen.motion == request.sent
        assert house.device.decoders[0].decoded == request.sent
        assert seen.shown == {request.number}
        assert not seen.audio_only
        (finished,) = seen.finished
        assert (finished.reason, finished.interrupted) == ("completed", False)
        assert abs(finished.position_us - 7_300_000) <= 20_000
