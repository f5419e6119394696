"""The child process, started as `python -m edge_client.audio.speaker CHANNEL PULSE MEMORY`.

It plays data received through inherited descriptors; `--list` prints the outputs as JSON.

PortAudio and drivers may hang in any call, and then no code of this process runs. So:
1. A failure is reported first, and nothing is closed after it: the process just ends.
2. Before calls that may hang, the kernel's alarm is set, which ends the process even if the parent is dead.
3. That no samples are requested is detected by the parent, not here.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge_client.audio.devices import format_outputs
from edge_client.audio.sink import Pcm
from edge_client.audio.speaker.alsa import Alsa
from edge_client.audio.speaker.channel import Failed, Settings, receive, send
from edge_client.audio.speaker.engine import SpeakerEngine
from edge_client.audio.speaker.keep_alive import KeepAlive
from edge_client.audio.speaker.memory import GAIN_ONE, SpeakerControl, SpeakerMemory
from edge_client.audio.speaker.opening import Found, find_output, list_outputs, open_output
from edge_client.audio.speaker.portaudio import Render
from edge_client.children.inside import begin
from edge_client.children.pulse import Pulse
from edge_client.errors import SinkError

if TYPE_CHECKING:
    from edge_client.audio.speaker.mixer import Mixer

_CHECK_SECONDS = 0.25
_LIST_SECONDS = 30
"""Longer than a parent waits: ends the process if the parent is gone."""
_OPEN_SECONDS = 6
_CLOSE_SECONDS = 2
_MOST_CHARACTERS = 1_000


def main(arguments: list[str]) -> int:
    """Run; returns the exit code."""
    if arguments == ["--list"]:
        return _list_outputs()
    parent = begin(arguments)
    channel = parent.channel
    settings = receive(channel)
    if not isinstance(settings, Settings):
        return 0
    try:
        _Speaker(settings, SpeakerMemory(int(parent.arguments[0]), settings.rate_hz), parent.pulse).run(channel)
    except SinkError as error:
        with contextlib.suppress(OSError):
            send(channel, Failed(str(error)[:_MOST_CHARACTERS]))
        os._exit(1)  # the interpreter's own exit would close the stream, which may hang
    except BrokenPipeError:
        pass
    os._exit(0)


def _list_outputs() -> int:
    signal.alarm(_LIST_SECONDS)
    try:
        devices = list_outputs(Alsa())
    except (SinkError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(format_outputs(devices).decode() + "\n")
    return 0


class _Speaker:
    def __init__(self, settings: Settings, memory: SpeakerMemory, pulse: Pulse) -> None:
        self._settings = settings
        self._memory = memory
        self._pulse = pulse
        self._engine = SpeakerEngine(memory, settings.rate_hz)
        self._fault: Exception | None = None

    def run(self, channel: socket.socket) -> None:
        """Play until the parent closes its end. Raises `SinkError` if the device fails."""
        signal.alarm(_OPEN_SECONDS)
        try:
            alsa = Alsa()
        except OSError as error:
            raise SinkError(f"no sound: ALSA's library cannot be loaded: {error}") from error
        found = find_output(alsa, self._settings)
        mixer, why = self._open_mixer(found)
        gc.disable()  # no pause in the callback; nothing below creates cycles
        library, stream, opened = open_output(self._settings, found, self._make_render)
        signal.alarm(0)
        try:
            send(channel, replace(opened, why="; ".join(filter(None, (opened.why, why)))))
            self._watch(channel, stream, mixer)
        finally:
            signal.alarm(_CLOSE_SECONDS)
        stream.close()
        library.terminate()

    def _open_mixer(self, found: Found) -> tuple[Mixer | None, str]:
        """The card's volume control, set to the current volume; otherwise why samples are scaled although it was requested."""
        if not self._settings.mixer:
            return None, ""
        from edge_client.audio.speaker.mixer import Mixer  # only if requested

        try:
            mixer = Mixer(self._settings.mixer, found.abilities.card)
            self._follow(mixer, 0)
        except SinkError as error:
            return None, f"the volume is set by scaling samples: {error}"
        self._engine.scales = False
        return mixer, ""

    def _follow(self, mixer: Mixer, before: int) -> int:
        """Set the card's volume if it differs; returns the current one. The engine handles silence."""
        gain = self._memory[SpeakerControl.GAIN]
        if gain not in (0, before):
            mixer.set(gain / GAIN_ONE)
        return gain or before

    def _make_render(self, rate_hz: int) -> Render:
        """The function that the callback calls. Conversion is imported only if the card's rate needs it."""
        if rate_hz == self._settings.rate_hz:
            render = self._engine.render
        else:
            from edge_client.audio.speaker.conversion import ConvertedEngine

            render = ConvertedEngine(self._engine, self._settings.rate_hz, rate_hz).render

        filled = KeepAlive(rate_hz).filled if self._settings.keep_alive else None

        def rendered(frames: int, time_seconds: float, delay_seconds: float, device_dry: bool) -> Pcm:
            self._pulse.progress()
            try:
                samples = render(frames, time_us=round(time_seconds * 1e6), delay_frames=delay_seconds * rate_hz, device_dry=device_dry)
                return samples if filled is None else filled(samples)
            except Exception as error:
                self._fault = error
                raise

        return rendered

    def _watch(self, channel: socket.socket, stream: Any, mixer: Mixer | None) -> None:
        """Return when the parent closes its end."""
        gain = 0
        channel.settimeout(_CHECK_SECONDS)
        while True:
            try:
                if receive(channel) is None:
                    return
            except TimeoutError:
                pass
            if mixer is not None:
                gain = self._follow(mixer, gain)
            if self._fault is not None:
                raise SinkError(f"the callback failed: {self._fault!r}")
            if not stream.is_active():
                raise SinkError("the device ended the stream; it may have been unplugged")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
