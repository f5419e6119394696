"""Sizes and times that both ends respect. Units are in the names."""

PROTOCOL_VERSION = 1

MAX_PAYLOAD_BYTES = 2 << 20
"""Largest payload, whole."""
MAX_FRAGMENT_BYTES = 16 << 10
"""A payload over this size travels in fragments, so that audio never waits behind a 50 KB motion window."""
MAX_JOINED_BYTES = 64 << 10
"""Waiting payloads are joined into one message up to this size; twice as much if a device answers at once."""
MAX_JOINED_REQUESTS = 256
"""Requests of a publisher that travel in one message."""
MAX_JOINED_WITH_DEVICE = 16
"""Messages between a device and its relay that travel as one."""
MAX_MESSAGE_BYTES = 4 << 20
"""Largest message."""
GRPC_MAX_RECEIVE_BYTES = 8 << 20
"""gRPC's own limit, above ours so that our error is raised first."""
MAX_REQUEST_BYTES = 64 << 10
"""Largest request of a unary RPC, and of the third-party services."""
MAX_DEVICE_MESSAGE_BYTES = 256 << 10
"""Largest message of a device: `hello` with all its cursors is half of this."""
MAX_MESSAGE_PAYLOADS = 16_384
"""Payloads in one message of a publisher, including joined requests."""
MAX_DEVICE_MESSAGE_PAYLOADS = 2 * MAX_JOINED_BYTES
"""Payloads in one message to a device: the number that fits at one byte each."""

MAX_ID_CHARACTERS = 64
"""Length of the name of a device, a publisher, a group or a conversation."""
MAX_NAMES = 256
"""Devices and groups that one request names: `PublishOpen.targets`, `WatchEventsRequest.device_ids`."""
MAX_TEXT_CHARACTERS = 1_024
"""Length of an error's text. The rest is cut off."""
MAX_WORD_CHARACTERS = 64
"""Length of a reason, or the name of a field. The rest is cut off."""
MAX_SOFTWARE_CHARACTERS = 128
"""Length of `software_version`, and of the description of a device's part. The rest is cut off."""
MAX_PARTS = 8
"""Parts of a device. A relay refuses a message with more."""
MAX_TOKEN_CHARACTERS = 128
"""Length of a session token."""
MAX_TRACEPARENT_CHARACTERS = 64
MAX_TRACESTATE_CHARACTERS = 512
"""Length of a trace context: W3C Trace Context requires at least this much to be propagated. A longer one is ignored."""
MAX_ERROR_DETAILS = 8
"""Details of a `google.rpc.Status` that are read."""
MAX_FORMATS = 64
"""Number of codecs, and of motion encodings, in `hello`."""
MAX_PCM_PAYLOAD_US = 100_000
"""The publisher library cuts PCM into payloads of at most this length."""

MAX_CLOSED_CONVERSATIONS = 1_024
"""Closed conversation ids remembered for each device; also the maximum of cursors, or ids, in one message."""
UNKNOWN_CONVERSATION_HOLD_US = 5_000_000
"""Media of a conversation that is not open yet is held this long, then dropped and reported."""
UNKNOWN_CONVERSATION_HOLD_BYTES = 2 << 20
"""… and up to this many bytes."""

DEVICE_LEASE_US = 30_000_000
PUBLISHER_LEASE_US = 5_000_000
HEARTBEAT_US = 1_000_000
IDLE_HEARTBEAT_US = 4_000_000
"""Heartbeat of a device without a conversation: it and the relay have little to exchange, and there may be thousands of devices."""
MAX_IDLE_HEARTBEAT_US = 10_000_000
IDLE_BEATS = 3
"""A peer that is silent for this many idle heartbeats is dead: a half-open link without a conversation is found within 12.25 s."""
PEER_TIMEOUT_US = 4_000_000
"""A peer that is silent for this long is dead.

Both ends check every 0.25 s, so that a half-open link is found within 4.25 s; that leaves 0.75 s of 5 for a busy machine.
"""
STRICT_SYNC_WAIT_US = 5_000_000
"""`strict_sync`: audio waits at most this long for motion."""

PCM_RATES_HZ = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
OPUS_RATE_HZ = 48_000
AVATARKIT_KEYFRAMES_PER_SECOND = 25.0
"""AvatarKit messages carry no time; 507 keyframes for 20.3 s in the recorded conversation."""
MIN_KEYFRAMES_PER_SECOND = 0.125
"""With fewer, positions would not fit into 64 bits. Both bounds are exact as the wire's `float`."""
MAX_KEYFRAMES_PER_SECOND = 240.0
MAX_BLENDSHAPE_NAMES = 256
MAX_BLENDSHAPE_NAME_CHARACTERS = 64
