"""Faults on the wire: `google.rpc.Status` with its details."""

from __future__ import annotations

import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from avatar_relay.reasons import Fault, Reason
from avatar_relay.wire import fault_from_status, fault_to_status


@pytest.mark.parametrize("fault", [Fault(Reason.DRAINING, "later", retry_after_ms=1_500), Fault(Reason.NO_AUDIO, "no sound", "end")])
def test_a_fault_survives_the_wire(fault: Fault) -> None:
    """Reason, text, field and hint, with the status that belongs to the reason."""
    assert fault_from_status(fault_to_status(fault)) == fault


def test_a_reason_of_a_later_version_keeps_its_text_and_hint() -> None:
    """It is read as MESSAGE_INVALID, with its own name in the text; the retry delay is kept. The status is the stream's own."""
    later = any_pb2.Any()
    later.Pack(error_details_pb2.ErrorInfo(reason="MOON_IN_THE_WAY", domain="avatar-relay"))
    known = fault_to_status(Fault(Reason.DRAINING, "wait", retry_after_ms=1_500))
    fault = fault_from_status(status_pb2.Status(code=14, message="wait", details=[later, known.details[-1]]))
    assert fault == Fault(Reason.MESSAGE_INVALID, "MOON_IN_THE_WAY: wait", retry_after_ms=1_500)
