"""What goes wrong with an Audio2Face-3D service, as our faults: which pass by themselves, and which need a person.

A fault with `retry_after_ms` may pass; one without is final until somebody changes something.
"""

from __future__ import annotations

import grpc

from avatar_relay.errors import FaultError
from avatar_relay.reasons import Fault, Reason
from relay_server.sources.audio2face.settings import Audio2FaceSettings

RETRY_AFTER_MS = 1_000

_RETRYABLE = {
    grpc.StatusCode.UNAVAILABLE: Reason.SOURCE_UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.SOURCE_UNAVAILABLE,  # all of its streams are taken
    grpc.StatusCode.ABORTED: Reason.SOURCE_UNAVAILABLE,
    grpc.StatusCode.CANCELLED: Reason.SOURCE_UNAVAILABLE,  # it, or what is between, let go of the call
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
"""In the details where it is our own gRPC that refuses a message for its size (grpcio 1.76, `MessageSizeFilter`)."""


class ServiceError(FaultError):
    """The service will make no (more) motion for this clip."""


def rpc_error(code: grpc.StatusCode, details: str | None, settings: Audio2FaceSettings) -> ServiceError:
    """The call ended with this status."""
    said = settings.without_secrets(details or "")
    text = f"Audio2Face-3D ended the call: {code.name}{f' ({said})' if said else ''}"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in said:
        return ServiceError(Fault(Reason.SOURCE_INVALID, text))
    if code in _RETRYABLE:
        return ServiceError(Fault(_RETRYABLE[code], text, retry_after_ms=RETRY_AFTER_MS))
    return ServiceError(Fault(_FINAL.get(code, Reason.SOURCE_FAILED), text))


def status_error(message: str, settings: Audio2FaceSettings) -> ServiceError:
    """The service says ERROR, in its own words."""
    return ServiceError(Fault(Reason.SOURCE_FAILED, f"Audio2Face-3D says: {settings.without_secrets(message) or 'ERROR'}"))


def silent_error(timeout_s: float) -> ServiceError:
    """Nothing came for too long."""
    text = f"Audio2Face-3D received sound and has been silent for {timeout_s:g} s"
    return ServiceError(Fault(Reason.SOURCE_SILENT, text, retry_after_ms=RETRY_AFTER_MS))


def invalid_error(text: str) -> ServiceError:
    """What the service says cannot be used."""
    return ServiceError(Fault(Reason.SOURCE_INVALID, f"Audio2Face-3D breaks its protocol: {text}"))
