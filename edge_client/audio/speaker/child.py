"""The parent's handle of one speaker process: its messages, and why it ended."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from edge_client.audio.devices import SPEAKER_MODULE
from edge_client.audio.speaker.channel import DeviceOpened, Failed, Settings, receive, send
from edge_client.audio.speaker.memory import SpeakerMemory, create_memory
from edge_client.children.child import Child

_LAST_WORDS_S = 0.5
_HUNG = "PortAudio or a driver hung while it opened or closed the sound device; it may have been unplugged"


class SpeakerChild(Child):
    """A speaker process with its memory. See `Child` for threads."""

    def __init__(
        self, settings: Settings, begin: Callable[[SpeakerMemory], None], on_opened: Callable[[SpeakerChild, DeviceOpened], None]
    ) -> None:
        """`begin(memory)` writes the initial state; `on_opened` is called on a thread of this child. Raises `OSError`."""
        descriptor = create_memory(settings.rate_hz)
        try:
            self.memory = SpeakerMemory(descriptor, settings.rate_hz)
            begin(self.memory)
            super().__init__(SPEAKER_MODULE, descriptors=(descriptor,), environment=os.environ | {"JACK_NO_START_SERVER": "1"})
        finally:
            os.close(descriptor)
        self.was_killed = False
        self.is_over = False
        """The process has ended; late messages from it are ignored."""
        self._on_opened = on_opened
        self._failure = ""
        send(self.channel, settings)
        self._listener = threading.Thread(target=self._listen, name="speaker-listener", daemon=True)
        self._listener.start()

    def exit_text(self) -> str | None:
        """Why the process ended, in its own words if it sent any."""
        how = super().exit_text()
        if how is None:
            return None
        self._listener.join(_LAST_WORDS_S)
        if self._failure:
            return self._failure
        return f"{_HUNG} ({how})" if "SIGALRM" in how else f"the speaker process: {how}"

    def kill(self) -> None:
        """See `Child.kill`."""
        self.was_killed = True
        super().kill()

    def close(self) -> None:
        """See `Child.close`."""
        self.ask_to_end()
        self._listener.join()
        super().close()
        self.memory.close()

    def _listen(self) -> None:
        while True:
            try:
                message = receive(self.channel)
            except OSError:
                return
            match message:
                case None:
                    return
                case DeviceOpened():
                    self._on_opened(self, message)
                case Failed(reason):
                    self._failure = reason
