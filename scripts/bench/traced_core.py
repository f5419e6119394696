"""Passes payloads through the relay's connections without sockets: `python -m scripts.bench.traced_core COUNT [--untraced]`.

Made for counting instructions. Each message has one payload, which a device receives before the next is sent. Nothing waits, and time
advances only by count, so that the same instructions run each time. OpenTelemetry's variables enable tracing, as for the relay. The
other work of a relay (mostly gRPC) does not depend on tracing.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count

PAYLOAD_US = 12_500
"""Interval of payloads: 80 per second."""
AUDIO_BYTES = 700


async def pass_payloads(number: int) -> None:
    """Pass `number` payloads through a relay, from `open` to `end`."""
    from avatar_relay import messages as m
    from avatar_relay import wire
    from avatar_relay.limits import PROTOCOL_VERSION
    from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Credit, Kind, MotionEncoding, Payload
    from avatar_relay.tracing import start_telemetry
    from relay_server.config import RelayConfig
    from relay_server.connections.clocks import Clocks
    from relay_server.connections.relay import Relay
    from relay_server.server import unix_time_us
    from relay_server.telemetry import RelayTelemetry

    telemetry = start_telemetry("relay-server", "1", "1", os.environ)
    observer = RelayTelemetry(telemetry, unix_time_us) if telemetry.enabled else None
    moments = count(1_000_000, PAYLOAD_US)
    clocks = Clocks(lambda: next(moments), lambda: 0)
    relay = Relay(RelayConfig(), clocks, random_bytes=lambda size: b"r" * size, encode=wire.encode_payload, observer=observer)
    device, publisher = relay.connect_device(), relay.connect_publisher()
    plenty = Credit(1 << 30, 1 << 30)
    await device.send(m.Hello("device", PROTOCOL_VERSION, "counted", tuple(Codec), 48_000, tuple(MotionEncoding), plenty))
    await publisher.send(m.PublishOpen(ConversationOpen("c1", AudioFormat(Codec.PCM_S16LE, 16_000)), ("device",)))
    while not isinstance(await device.receive(), ConversationOpen):
        pass
    for seq in range(1, number + 1):
        payload = Payload(Kind.AUDIO, seq, bytes(AUDIO_BYTES), pts_us=(seq - 1) * 20_000, duration_us=20_000)
        await publisher.send(m.Media("c1", (payload,)))
        while isinstance(asked := await device.receive(), m.Ping):
            await device.send(m.Pong(asked.ping_id, asked.sent_time_us, 0, 0, 0))
    if observer is not None:
        observer.close()
    telemetry.shutdown()


if __name__ == "__main__":
    if "--untraced" in sys.argv:
        from scripts.bench.untraced import Finder

        sys.meta_path.insert(0, Finder())
    asyncio.run(pass_payloads(int(sys.argv[1])))
