"""What a relay tells publishers when a device is at another relay now."""

from __future__ import annotations

from avatar_relay import wire
from avatar_relay.messages import Dropped, PlayerEvent, PublisherHello, PublishOpen, ToPublisher
from avatar_relay.reasons import Reason
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import Relay
from tests.relay_server.core.test_adoption import C1
from tests.relay_server.relay_dsl import hello


async def test_dropped_motion_is_reported_before_the_stream_ends() -> None:
    """A writer that has nothing to write when its stream ends writes nothing more: the report would wait at a relay that may stop."""
    relay = Relay(RelayConfig(), Clocks(lambda: 1, lambda: 0), random_bytes=lambda count: b"r" * count, encode=wire.encode_payload)
    await relay.connect_device().send(hello("lobby"))
    port = relay.connect_publisher()
    await port.send(PublisherHello("backend", 1, "test"))
    await port.send(PublishOpen(C1, ("lobby",)))
    told: list[ToPublisher] = []

    def write() -> None:
        """As the writer of a stream, which is woken."""
        while (message := port.next()) is not None:
            told.append(message)
        if port.ended:
            told.append(None)  # type: ignore[arg-type]  # the end

    port.wake = write
    (session,) = relay.sessions()
    session.deliveries["c1"].yielded.update(payloads=1, bytes=100)
    relay.hand_over("lobby", "it is at relay b now")
    assert port.fault is not None
    assert port.fault.reason is Reason.MOVED
    written = told[: told.index(None)]  # type: ignore[arg-type]
    assert [message.body.payloads for message in written if isinstance(message, PlayerEvent) and isinstance(message.body, Dropped)] == [1]
