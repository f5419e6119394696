"""The part of a Server SDK that we need: sessions that accept sound, and three callbacks. Implemented by `vendor`.

The callbacks run on the event loop, within the SDK's reader, which swallows their exceptions: they enqueue and return.
"""

from __future__ import annotations

from typing import Protocol

from avatar_relay.media import AudioFormat
from relay_server.sources.avatarkit.faults import SdkFailure


class SdkListener(Protocol):
    """The owner of a vendor session."""

    def on_frames(self, data: bytes) -> None:
        """Handle a motion message, byte for byte as received on the WebSocket."""
        ...

    def on_failure(self, failure: SdkFailure) -> None:
        """Handle a failure; the session may remain usable."""
        ...

    def on_closed(self) -> None:
        """The session is closed. Some SDKs call it twice."""
        ...


class SdkSession(Protocol):
    """A vendor session, used for one connection. All methods except `close` raise `SdkError`."""

    async def start(self) -> str:
        """Token, WebSocket and handshake; returns the vendor's connection id. Billed from here on. If cancelled, call `close`."""
        ...

    async def send_audio(self, data: bytes, *, end: bool) -> str:
        """Send sound; returns the id of its request, the same until `end`."""
        ...

    async def interrupt(self) -> str:
        """Cancel the latest request at the server; returns its id."""
        ...

    async def close(self) -> None:
        """Close the session, in any state. Raises nothing."""
        ...


class Sdk(Protocol):
    """A Server SDK with an account."""

    @property
    def name(self) -> str:
        """The name used in the configuration."""
        ...

    def session(self, audio_format: AudioFormat, listener: SdkListener) -> SdkSession:
        """Create a session for sound of this format, not yet connected."""
        ...
