"""Motion that the relay dropped on a narrow link is also counted in the device's own figures."""

from __future__ import annotations

from avatar_relay.media import Kind
from avatar_relay.messages import ConversationEnd, Dropped, Media
from tests.edge_client.playback_bench import RATE_HZ, Bench, audio_payloads, motion_payload, noise, open_


def test_motion_that_never_came_is_counted_and_not_told() -> None:
    """The relay has already reported it to the publisher."""
    bench = Bench()
    bench.handle(open_("a"))
    sound = audio_payloads(noise(RATE_HZ))
    motion = [motion_payload([0.1, 0.2], seq=seq, first_keyframe=2 * seq - 2) for seq in (3, 4, 5, 10, 11)]
    for payload in (*sound, *motion):
        bench.handle(Media("a", (payload,)))
    bench.handle(ConversationEnd("a", len(sound), 12))
    bench.run(3_000_000)
    assert bench.playback.summary().dropped_payloads == 2 + 4 + 1
    assert not [event for event in bench.events("a") if isinstance(event, Dropped) and event.kind is Kind.MOTION]
