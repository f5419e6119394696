"""The media of a publisher at its door: what is passed on unread, and what is read there."""

from __future__ import annotations

import asyncio

from avatar_relay import wire
from avatar_relay.media import Kind, Payload
from avatar_relay.messages import ConversationEnd, DeviceVolume, Media, Opened, Ping, Volume
from tests.relay_server.cluster.test_door import SlowWays, greeted, opening


async def test_media_for_other_relays_is_forwarded_unread() -> None:
    """In its own bytes, once its conversation is open; what follows an opening under way is kept."""
    ways = SlowWays()
    payload = Payload(kind=Kind.AUDIO, seq=1, data=b"sound", duration_us=20_000)
    said = {cid: wire.publish_request_to_wire(Media(cid, (payload,))).SerializeToString() for cid in ("c0", "elsewhere")}
    end = wire.publish_request_to_wire(ConversationEnd("c0", 1, 0)).SerializeToString()
    async with asyncio.timeout(30):
        door = await greeted(ways)
        await door.send(opening("c0", "d0"))
        assert not door.take_media(said["c0"])
        ways.answers.set()
        assert await door.receive() == Opened("c0", ("d0",))
        await door.send(opening("", "d0"))  # its home chooses the id
        assert await door.receive() == Opened("", ("d0",))
        await asyncio.sleep(0)
    for other in (opening("c1", "d1"), DeviceVolume("d1", Volume(1.0)), Ping(1, 0)):
        assert not door.take_media(wire.publish_request_to_wire(other).SerializeToString()), "permissions are checked here"
    assert [door.take_media(data) for data in (said["c0"], end, b"")] == [True, False, False]
    assert ways.passages["b"].forwarded == [said["c0"]]


async def test_joined_media_is_divided_among_the_relays() -> None:
    """Each relay gets its part in one message; what is for this relay is handled at once. A message with anything else is read here."""
    ways = SlowWays()
    ways.answers.set()
    payload = Payload(kind=Kind.AUDIO, seq=1, data=b"sound", pts_us=0, duration_us=20_000)
    said = {cid: wire.publish_request_to_wire(Media(cid, (payload,))).SerializeToString() for cid in ("c0", "c1", "here")}
    end = wire.publish_request_to_wire(ConversationEnd("c0", 1, 0)).SerializeToString()
    async with asyncio.timeout(30):
        door = await greeted(ways)
        for cid in ("c0", "c1"):
            await door.send(opening(cid, "d0"))
            assert await door.receive() == Opened(cid, ("d0",))
        await asyncio.sleep(0)
        whole, mixed = wire.join_requests([said["c0"], said["c1"]]), wire.join_requests([said["c0"], said["here"], said["c1"]])
        assert door.take_media(whole)
        assert door.take_media(mixed)
        assert not door.take_media(wire.join_requests([said["c0"], end]))
        assert not door.take_media(wire.join_requests([]))
    assert ways.passages["b"].forwarded == [whole, whole]
    assert door.local.publisher is not None
    assert list(door.local.publisher.unopened) == ["here"]
