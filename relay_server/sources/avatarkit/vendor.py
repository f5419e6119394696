"""The two Server SDKs behind our Protocol. Their packages are imported only here, when the first SDK is created.

Both have the same methods; they differ in how a session is configured. Only their published API is used.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

from avatar_relay.errors import ConfigError
from avatar_relay.media import AudioFormat, Codec
from relay_server.sources.avatarkit.faults import SdkError, SdkFailure
from relay_server.sources.avatarkit.sdk import Sdk, SdkListener, SdkSession
from relay_server.sources.avatarkit.settings import AvatarKitSettings

TOKEN_LIFE = timedelta(hours=1)
"""Needed only to start a session; the vendor allows up to a day."""
_LOUD_LIBRARIES = ("websockets", "aiohttp")
"""These log the headers that they send, with credentials, at DEBUG."""


def make_sdk(settings: AvatarKitSettings, api_key: str) -> Sdk:
    """The configured SDK. Raises `ConfigError` if its package is not installed."""
    try:
        package = importlib.import_module(settings.sdk)
    except ImportError as error:
        text = f"{settings.sdk}: the package is not installed; pip install 'avatar-relay[{settings.sdk}]' ({error})"
        raise ConfigError(text) from error
    for library in _LOUD_LIBRARIES:
        logging.getLogger(library).setLevel(logging.INFO)
    if settings.sdk == "spatius":
        if not settings.vendor_telemetry:
            package.configure_telemetry("")
        return VendorSdk(package, settings, api_key, {"region": settings.region} if settings.region else {})
    return VendorSdk(package, settings, api_key, {"environment": settings.region} if settings.region else {})


class VendorSdk:
    """One of the packages, with an account."""

    def __init__(self, package: ModuleType, settings: AvatarKitSettings, api_key: str, place: dict[str, str]) -> None:
        self._package = package
        self._settings = settings
        self._api_key = api_key
        self._place = place

    @property
    def name(self) -> str:
        """The name used in the configuration."""
        return self._settings.sdk

    def session(self, audio_format: AudioFormat, listener: SdkListener) -> SdkSession:
        """See `Sdk`."""
        codecs = self._package.AudioFormat
        vendor = self._package.new_avatar_session(
            avatar_id=self._settings.avatar_id,
            app_id=self._settings.app_id,
            api_key=self._api_key,
            expire_at=datetime.now(UTC) + TOKEN_LIFE,
            sample_rate=audio_format.sample_rate_hz,
            audio_format=codecs.PCM_S16LE if audio_format.codec is Codec.PCM_S16LE else codecs.OGG_OPUS,
            console_endpoint_url=self._settings.console_url,
            ingress_endpoint_url=self._settings.ingress_url,
            transport_frames=lambda data, _is_last: listener.on_frames(data),
            on_error=lambda error: listener.on_failure(self._failure(error)),
            on_close=listener.on_closed,
            **self._place,
        )
        return VendorSession(vendor, self._failure)

    def _failure(self, error: BaseException) -> SdkFailure:
        """Convert an SDK's error; removes the account's key from the server's text."""
        failure = failure_of(error)
        if self._api_key not in failure.detail + failure.server_code:
            return failure
        return SdkFailure(failure.code, failure.phase, failure.close_code, failure.http_status, "", "[redacted]", failure.req_id)


class VendorSession:
    """A session of either package."""

    def __init__(self, vendor: Any, failure: Callable[[BaseException], SdkFailure]) -> None:
        self._vendor = vendor
        self._failure = failure

    async def start(self) -> str:
        """See `SdkSession`."""
        await self._asked(self._vendor.init())
        return await self._asked(self._vendor.start())

    async def send_audio(self, data: bytes, *, end: bool) -> str:
        """See `SdkSession`."""
        return await self._asked(self._vendor.send_audio(data, end=end))

    async def interrupt(self) -> str:
        """See `SdkSession`."""
        return await self._asked(self._vendor.interrupt())

    async def close(self) -> None:
        """See `SdkSession`."""
        try:
            await self._vendor.close()
        except Exception as error:
            logging.getLogger(__name__).info("session of %s closed with %s", type(self._vendor).__module__, type(error).__name__)

    async def _asked(self, answer: Awaitable[object]) -> str:
        try:
            return str(await answer)
        except Exception as error:
            raise SdkError(self._failure(error)) from None


def failure_of(error: BaseException) -> SdkFailure:
    """Convert an error that an SDK raised or reported; both packages use the same attributes.

    A plain `ValueError` means that the connection is gone.
    """
    code = getattr(error, "code", None)
    if code is None:
        return SdkFailure("connectionClosed" if isinstance(error, ValueError) else "unknown", detail=type(error).__name__)
    return SdkFailure(
        code=str(getattr(code, "value", code)),
        phase=str(getattr(error, "phase", "") or ""),
        close_code=getattr(error, "close_code", None),
        http_status=getattr(error, "http_status", None),
        server_code=str(getattr(error, "server_code", "") or ""),
        detail=str(getattr(error, "server_detail", "") or getattr(error, "close_reason", "") or ""),
        req_id=str(getattr(error, "req_id", "") or ""),
    )
