"""A member of a group that cannot keep up (rule 11) loses the conversation; the others continue at the pace of the fastest."""

from __future__ import annotations

from avatar_relay import messages as m
from avatar_relay.media import Credit
from avatar_relay.reasons import Reason
from relay_server.config import RelayConfig
from tests.relay_server.relay_dsl import AUDIO_BYTES, RelayDsl, hello

CONFIG = RelayConfig(groups={"everyone": ("lobby", "hall")})


def without_credit(house: RelayDsl, device_id: str) -> None:
    """Attach a device that grants credit for one payload only."""
    house.perform(house.attending.attach(hello(device_id, buffer=Credit(AUDIO_BYTES, AUDIO_BYTES)), house.now_us, 0))
    house.pump()


def test_credit_follows_the_fastest_and_who_lags_loses_the_conversation() -> None:
    """A member that lags beyond the bound is sent a clear, its publisher gets the reason, and the group plays on."""
    house = RelayDsl(CONFIG)
    house.play("lobby attaches")
    without_credit(house, "hall")
    house.play("a opens c1 on everyone")
    conversation = house.registry.conversations["c1"]
    payloads = CONFIG.lag_bytes // AUDIO_BYTES + 1
    for _ in range(payloads):
        house.play("a audio c1")
        house.perform(house.publishing.credit(conversation))  # as the relay does when media left
    assert house.heard("hall") == ["welcome", "open c1", "audio c1 1"]
    assert not [message for message in house.told if isinstance(message, m.ConversationError)]
    house.play("a audio c1 2")
    assert house.heard("hall") == ["interrupt c1"]
    (error,) = [message for message in house.told if isinstance(message, m.ConversationError)]
    assert (error.device_id, error.fault.reason) == ("hall", Reason.LIMIT_REACHED)
    house.heard("lobby")
    house.play("a audio c1; a ends c1")
    assert house.heard("lobby") == [f"audio c1 {payloads + 3}", f"end c1 {payloads + 3} 0"]
