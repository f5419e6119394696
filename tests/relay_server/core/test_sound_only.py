"""A device that does not support a conversation's motion gets the sound, and the publisher is notified once."""

from __future__ import annotations

from dataclasses import replace

from avatar_relay import messages as m
from avatar_relay.limits import MAX_PAYLOAD_BYTES
from avatar_relay.media import Credit, Cursor, Kind, Payload
from avatar_relay.reasons import Reason
from tests.relay_server.core.test_adoption import C1, again, audio
from tests.relay_server.relay_dsl import RelayDsl, hello

TOLD = "error c1 MOTION_FORMAT_UNSUPPORTED lobby"


def without_face(house: RelayDsl, *cursors: Cursor, token: str = "") -> None:
    """Attach the device `lobby`, which supports no motion and has no buffer for any."""
    said = hello("lobby", token=token, cursors=cursors, buffer=Credit(1 << 30, 0))
    house.perform(house.attending.attach(replace(said, motion_encodings=()), house.now_us, 0))
    house.pump()


def played() -> RelayDsl:
    """The device plays a conversation with motion."""
    house = RelayDsl()
    without_face(house)
    house.play("a opens c1; a audio c1 2; a motion c1 2; a audio c1")
    return house


def test_the_sound_plays_and_the_publisher_is_told_once() -> None:
    """No motion reaches the device, and none counts as missing at the end."""
    house = played()
    house.play("a ends c1; lobby holds c1 3 0; lobby finishes c1 300000")
    assert house.heard("lobby") == ["welcome", "open c1", "audio c1 1-2", "audio c1 3", "end c1 3 0"]
    heard = house.heard("a")
    assert heard[:2] == ["opened c1 lobby", TOLD]
    assert heard.count(TOLD) == 1
    assert heard[-1] == "finished c1 lobby 300000 completed"


def test_the_device_is_told_of_a_conversation_without_motion() -> None:
    """The device can then derive mouth motion from the sound."""
    house = RelayDsl()
    without_face(house)
    house.perform(house.publishing.handle(house.publisher("a"), m.PublishOpen(C1, ("lobby",)), house.now_us))
    session = house.session("lobby")
    assert session.deliveries["c1"].open == replace(C1, motion_format=None)
    assert house.registry.conversations["c1"].open == C1


def test_motion_that_it_does_not_get_is_no_longer_kept_for_it() -> None:
    """The publisher's credit and retained media advance as if the device had accepted the motion."""
    house = played()
    house.play("lobby holds c1 2 0")
    held = [message for message in house.told if isinstance(message, m.Held)]
    assert held[-1].cursors == (Cursor("c1", 2, 2),)
    assert house.registry.conversations["c1"].waiting(Kind.MOTION) == 0
    house.say("a", m.Media("c1", (Payload(Kind.MOTION, 3, bytes(9), 0, 1, 0, MAX_PAYLOAD_BYTES),)))
    assert house.registry.conversations["c1"].media_open


def test_others_of_its_group_get_the_motion() -> None:
    """Support is checked for each device separately."""
    house = RelayDsl()
    without_face(house)
    house.play("hall attaches; a opens c1 on everyone; a audio c1; a motion c1; a ends c1")
    assert house.heard("lobby") == ["welcome", "open c1", "audio c1 1", "end c1 1 0"]
    assert house.heard("hall") == ["welcome", "open c1", "audio c1 1", "motion c1 1", "end c1 1 1"]
    errors = [message for message in house.told if isinstance(message, m.ConversationError)]
    assert [(error.device_id, error.fault.reason) for error in errors] == [("lobby", Reason.MOTION_FORMAT_UNSUPPORTED)]


def test_a_device_that_never_heard_of_it_gets_it_all_when_it_comes_back() -> None:
    """Motion that was withheld does not count as held."""
    house = RelayDsl()
    without_face(house)
    house.play("a opens c1; a audio c1; a motion c1")
    token = house.session("lobby").token
    house.play("lobby leaves")
    house.heard("lobby")
    without_face(house, token=token)
    assert house.heard("lobby") == ["welcome", "resumed c1", "open c1", "audio c1 1"]


def test_it_goes_on_at_another_relay() -> None:
    """Motion that the publisher reports as held is no reason to refuse."""
    house = RelayDsl()
    without_face(house, Cursor("c1", 5), token="of-the-relay-before")
    again(house, Cursor("c1", 5, 3))
    audio(house, 6)
    assert house.heard("lobby") == ["welcome", "open c1", "audio c1 6"]
    assert house.heard("a") == ["opened c1 lobby", TOLD]


def test_a_device_that_comes_back_as_another_one_loses_what_waited_for_it() -> None:
    """It was opened for a device with a face and a buffer for motion."""
    house = RelayDsl()
    house.play("lobby attaches; lobby leaves; a opens c1; a audio c1 2; a motion c1")
    without_face(house)
    assert house.heard("lobby")[-1] == "welcome"
    assert house.heard("a")[-1] == "finished c1 lobby 0 device_lost"
