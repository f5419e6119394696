"""Maps failures of an Audio2Face-3D service to faults.

A fault with `retry_after_ms` may be transient; one without needs a person to change something.
"""

from __future__ import annotations

import grpc

from avatar_relay.errors import FaultError
from avatar_relay.reasons import Fault, Reason
from relay_server.sources.audio2face.settings import Audio2FaceSettings

RETRY_AFTER_MS = 1_000

_RETRYABLE = {
    grpc.StatusCode.UNAVAILABLE: Reason.SOURCE_UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.SOURCE_UNAVAILABLE,  # all of its streams are in use
    grpc.StatusCode.ABORTED: Reason.SOURCE_UNAVAILABLE,
    grpc.StatusCode.CANCELLED: Reason.SOURCE_UNAVAILABLE,  # the service, or a proxy, cancelled the call
    grpc.StatusCode.DEADLINE_EXCEEDED: Reason.SOURCE_SILENT,
}
_FINAL = {
    grpc.StatusCode.UNAUTHENTICATED: Reason.SOURCE_REFUSED,
    grpc.StatusCode.PERMISSION_DENIED: Reason.SOURCE_REFUSED,
    grpc.StatusCode.NOT_FOUND: Reason.SOURCE_REFUSED,
    grpc.StatusCode.UNIMPLEMENTED: Reason.SOURCE_REFUSED,
    grpc.StatusCode.INVALID_ARGUMENT: Reason.SOURCE_REFUSED,
    grpc.StatusCode.FAILED_PRECONDITION: Reason.SOURCE_REFUSED,
    grpc.StatusCode.OUT_OF_RANGE: Reason.SOURCE_REFUSED,
}
_TOO_LARGE = "larger than max"
"""Part of the details if our own gRPC refuses a message for its size (grpcio 1.76, `MessageSizeFilter`)."""


class ServiceError(FaultError):
    """The service generates no (more) motion for this clip."""


def rpc_error(code: grpc.StatusCode, details: str | None, settings: Audio2FaceSettings) -> ServiceError:
    """The error for a call that ended with this status."""
    said = settings.without_secrets(details or "")
    text = f"Audio2Face-3D ended the call: {code.name}{f' ({said})' if said else ''}"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in said:
        return ServiceError(Fault(Reason.SOURCE_INVALID, text))
    if code in _RETRYABLE:
        return ServiceError(Fault(_RETRYABLE[code], text, retry_after_ms=RETRY_AFTER_MS))
    return ServiceError(Fault(_FINAL.get(code, Reason.SOURCE_FAILED), text))


def status_error(message: str, settings: Audio2FaceSettings) -> ServiceError:
    """The error for a status ERROR of the service, with its message."""
    return ServiceError(Fault(Reason.SOURCE_FAILED, f"Audio2Face-3D says: {settings.without_secrets(message) or 'ERROR'}"))


def silent_error(timeout_s: float) -> ServiceError:
    """The error for a service that was silent for too long."""
    text = f"Audio2Face-3D received sound and has been silent for {timeout_s:g} s"
    return ServiceError(Fault(Reason.SOURCE_SILENT, text, retry_after_ms=RETRY_AFTER_MS))


def invalid_error(text: str) -> ServiceError:
    """The error for an invalid answer."""
    return ServiceError(Fault(Reason.SOURCE_INVALID, f"Audio2Face-3D breaks its protocol: {text}"))
