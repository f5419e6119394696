"""What we need of a Server SDK: sessions that take sound, and three callbacks. `vendor` has the real ones.

The callbacks run on the event loop, within the SDK's reader, which swallows what they raise: they enqueue and return.
"""

from __future__ import annotations

from typing import Protocol

from avatar_relay.media import AudioFormat
from relay_server.sources.avatarkit.faults import SdkFailure


class SdkListener(Protocol):
    """The owner of a vendor session."""

    def on_frames(self, data: bytes) -> None:
        """A motion message, byte for byte as it came on the WebSocket."""
        ...

    def on_failure(self, failure: SdkFailure) -> None:
        """Something went wrong; the session may live on."""
        ...

    def on_closed(self) -> None:
        """The session is gone. Some SDKs say so twice."""
        ...


class SdkSession(Protocol):
    """A vendor session; it lives once. All verbs raise `SdkError`."""

    async def start(self) -> str:
        """Token, WebSocket and handshake; returns the vendor's connection id. Paid for from here on. Cancelled, it needs `close`."""
        ...

    async def send_audio(self, data: bytes, *, end: bool) -> str:
        """Send sound; returns the id of its request, the same until `end`."""
        ...

    async def interrupt(self) -> str:
        """Tell the server that the latest request is not wanted any more; returns its id."""
        ...

    async def close(self) -> None:
        """Give it back, in whatever state; raises nothing."""
        ...


class Sdk(Protocol):
    """A Server SDK with an account."""

    @property
    def name(self) -> str:
        """As it is chosen by configuration."""
        ...

    def session(self, audio_format: AudioFormat, listener: SdkListener) -> SdkSession:
        """A session for sound of this format; nothing is connected yet."""
        ...
