"""PortAudio through PyAudio, with workarounds for its pitfalls. Imported in the child only."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyaudio

from edge_client.audio.sink import Pcm
from edge_client.audio.speaker.alsa import quiet_standard_error
from edge_client.choices import Side
from edge_client.errors import SinkError

Render = Callable[[int, float, float, bool], Pcm]
"""(frames, time in s by CLOCK_MONOTONIC, delay in s, whether the device ran dry) → the samples."""

_REAL_TIME_PRIORITY = 20
_NICE_PRIORITY = -11
_MAX_TIMESTAMP_AGE_SECONDS = 1.0
_MAX_TIMESTAMP_LEAD_SECONDS = 0.001


def initialize() -> Any:
    """A `pyaudio.PyAudio`. Takes up to half a second: each device of the configuration is opened once.

    Raises `SinkError`. May also abort the process.
    """
    try:
        with quiet_standard_error():
            return pyaudio.PyAudio()
    except OSError as error:
        raise SinkError(f"PortAudio cannot start, check ALSA's configuration: {error.args[-1]}") from error


def open_output(portaudio: Any, name: str, *, rate_hz: int, channels: int, side: Side, buffer_frames: int, render: Render) -> Any:
    """A running stream on the output of this name; of two channels both play the same, or one is silent.

    Raises `SinkError` with PortAudio's reason.
    """
    devices = map(portaudio.get_device_info_by_index, range(portaudio.get_device_count()))
    index = next((device["index"] for device in devices if device["name"] == name and device["maxOutputChannels"] > 0), None)
    if index is None:
        raise SinkError("PortAudio does not see the output, though ALSA opened it; it may have been unplugged")
    try:
        with quiet_standard_error():
            return portaudio.open(
                rate=rate_hz,
                channels=channels,
                format=pyaudio.paInt16,
                output=True,
                output_device_index=index,
                frames_per_buffer=buffer_frames,
                stream_callback=_Callback(render, channels=channels, side=side, buffer_seconds=buffer_frames / rate_hz),
            )
    except OSError as error:
        raise SinkError(f"PortAudio cannot play {channels} channel(s) of 16 bits at {rate_hz} Hz: {error.args[-1]}") from error


class _Callback:
    """The callback of PortAudio. It never raises (PyAudio would end the stream) and never returns less than requested."""

    def __init__(self, render: Render, *, channels: int, side: Side, buffer_seconds: float) -> None:
        self._render = render
        self._channels = channels
        self._side = side
        self._buffer_seconds = buffer_seconds
        self._dry_at = float("-inf")
        self._is_first = True

    def __call__(self, _: object, frames: int, times: dict[str, float], status: int) -> tuple[bytes, int]:
        if self._is_first:
            self._is_first = False
            _raise_priority()
        try:
            current = times["current_time"]
            delay = max(0.0, times["output_buffer_dac_time"] - current)
            now = to_monotonic(current, monotonic=time.monotonic(), realtime=time.time())
            samples = self._render(frames, now, delay, self._is_newly_dry(now, status))
        except Exception:  # the renderer's owner counts it; silence is the best answer here
            samples = np.zeros(frames, np.int16)
        return self._spread(samples).tobytes(), pyaudio.paContinue

    def _spread(self, samples: Pcm) -> Pcm:
        """The samples of all channels."""
        if self._channels == 1:
            return samples
        if self._side == "both":
            return np.repeat(samples, self._channels)
        spread = np.zeros(self._channels * len(samples), np.int16)
        spread[0 if self._side == "left" else 1 :: self._channels] = samples
        return spread

    def _is_newly_dry(self, now: float, status: int) -> bool:
        """Whether a new underflow occurred. One underflow appears in every callback of the following burst, with the same time stamp."""
        if not status & pyaudio.paOutputUnderflow or now - self._dry_at < self._buffer_seconds / 2:
            return False
        self._dry_at = now
        return True


def _raise_priority() -> None:
    """Raise the priority of this thread as far as this user may.

    PyAudio's thread has no priority of its own, and would miss its 20 ms on a busy machine. Needs CAP_SYS_NICE, or a limit for rtprio as
    Debian's group 'audio' may have.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(_REAL_TIME_PRIORITY))
    except OSError:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _NICE_PRIORITY)  # on Linux: this thread


def to_monotonic(current: float, *, monotonic: float, realtime: float) -> float:
    """PortAudio's time stamp of a callback as CLOCK_MONOTONIC, whatever its base.

    ALSA's hardware devices use CLOCK_MONOTONIC, PulseAudio's plug-in CLOCK_REALTIME, JACK its own base; for the last the time of entry is
    used, which is later by the interpreter's overhead.
    """
    for clock in (monotonic, realtime):
        age = clock - current
        if -_MAX_TIMESTAMP_LEAD_SECONDS <= age < _MAX_TIMESTAMP_AGE_SECONDS:
            return monotonic - age
    return monotonic
