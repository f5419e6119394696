"""Faults as `google.rpc.Status` with details, and back."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from avatar_relay.limits import MAX_ERROR_DETAILS, MAX_TEXT_CHARACTERS, MAX_WORD_CHARACTERS
from avatar_relay.reasons import ERROR_DOMAIN, Fault, Reason

DETAILS_KEY = "grpc-status-details-bin"
"""Trailing metadata that carries a serialized `google.rpc.Status`."""

MAX_RETRY_MS = 24 * 3_600_000
"""A longer retry hint is read as this: one day."""


def fault_to_status(fault: Fault) -> status_pb2.Status:
    """The fault as `google.rpc.Status` with ErrorInfo, and BadRequest and RetryInfo where they apply."""
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=fault.reason.value, domain=ERROR_DOMAIN)]
    if fault.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=fault.field, description=fault.text)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if fault.retry_after_ms:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(fault.retry_after_ms)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=code_pb2.Code.Value(fault.code), message=fault.text)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def fault_from_status(status: status_pb2.Status) -> Fault:
    """Read a fault; an unknown reason is read as MESSAGE_INVALID with the text kept."""
    info, request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details[:MAX_ERROR_DETAILS]:
        for message in (info, request, retry):
            if detail.Is(message.DESCRIPTOR):
                with suppress(DecodeError):
                    detail.Unpack(message)
    known = info.reason in Reason.__members__
    text = status.message if known or not info.reason else f"{info.reason[:MAX_WORD_CHARACTERS]}: {status.message}"
    return Fault(
        reason=Reason(info.reason) if known else Reason.MESSAGE_INVALID,
        text=text[:MAX_TEXT_CHARACTERS],
        field=request.field_violations[0].field[:MAX_WORD_CHARACTERS] if request.field_violations else "",
        retry_after_ms=min(max(retry.retry_delay.ToMilliseconds(), 0), MAX_RETRY_MS),
    )


def fault_in(metadata: Iterable[tuple[str, Any]] | None) -> Fault | None:
    """The fault in an RPC's trailing metadata; None if there is none or it cannot be read."""
    for key, value in metadata or ():
        if key == DETAILS_KEY:
            try:
                return fault_from_status(status_pb2.Status.FromString(value))
            except DecodeError:
                return None
    return None
