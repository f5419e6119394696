"""Converts plain messages to protobuf and back: the only place where both programs use generated classes of the streams.

Input is untrusted: a value that breaks the contract raises `WireError` with a `Fault` that describes the error and its field. Unknown
fields and unknown `oneof` members are tolerated: the latter read as None, for the caller to count.
"""

from avatar_relay.wire.control import CREDIT, CURSOR, EVENT, PART, SETTINGS, VOLUME
from avatar_relay.wire.device import (
    attach_request_from_wire,
    attach_request_to_wire,
    attach_requests_in,
    attach_response_from_wire,
    attach_response_to_wire,
    attach_responses_in,
    join_attach_responses,
)
from avatar_relay.wire.entries import UNCOUNTED_BYTES, check_entries
from avatar_relay.wire.faults import DETAILS_KEY, fault_from_status, fault_in, fault_to_status
from avatar_relay.wire.live_media import join_requests, joined_data_in, joined_live_media_in, live_media_in
from avatar_relay.wire.media import (
    encode_payload,
    expression_from_wire,
    expression_to_wire,
    join_media_responses,
    payload_from_wire,
    splice_media_response,
)
from avatar_relay.wire.publisher import (
    publish_request_from_wire,
    publish_request_to_wire,
    publish_response_from_wire,
    publish_response_to_wire,
    requests_in,
)
from avatar_relay.wire.values import (
    ANGLE_UNIT_TO_WIRE,
    CODEC_TO_WIRE,
    ENCODING_TO_WIRE,
    PART_STATE_FROM_WIRE,
    WireError,
    angle_unit_from_wire,
    on_playing_from_wire,
)

__all__ = [
    "ANGLE_UNIT_TO_WIRE",
    "CODEC_TO_WIRE",
    "CREDIT",
    "CURSOR",
    "DETAILS_KEY",
    "ENCODING_TO_WIRE",
    "EVENT",
    "PART",
    "PART_STATE_FROM_WIRE",
    "SETTINGS",
    "UNCOUNTED_BYTES",
    "VOLUME",
    "WireError",
    "angle_unit_from_wire",
    "attach_request_from_wire",
    "attach_request_to_wire",
    "attach_requests_in",
    "attach_response_from_wire",
    "attach_response_to_wire",
    "attach_responses_in",
    "check_entries",
    "encode_payload",
    "expression_from_wire",
    "expression_to_wire",
    "fault_from_status",
    "fault_in",
    "fault_to_status",
    "join_attach_responses",
    "join_media_responses",
    "join_requests",
    "joined_data_in",
    "joined_live_media_in",
    "live_media_in",
    "on_playing_from_wire",
    "payload_from_wire",
    "publish_request_from_wire",
    "publish_request_to_wire",
    "publish_response_from_wire",
    "publish_response_to_wire",
    "requests_in",
    "splice_media_response",
]
