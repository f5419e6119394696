"""PortAudio through PyAudio, with its traps closed. Imported in the child only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyaudio

from edge_client.audio.devices import OutputDevice
from edge_client.audio.sink import Pcm
from edge_client.errors import RateError, SinkError

Render = Callable[[int, float, float, bool], Pcm]
"""(frames, time in s by CLOCK_MONOTONIC, delay in s, whether the device ran dry) → the samples."""

_ALSA_ERROR_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
_RATES_HZ = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000)
_REAL_TIME_PRIORITY = 20
_NICE_PRIORITY = -11
_MAX_TIMESTAMP_AGE_SECONDS = 1.0
_MAX_TIMESTAMP_LEAD_SECONDS = 0.001


_ignore_alsa_error = _ALSA_ERROR_HANDLER(lambda *_: None)
"""Kept for the life of the process, as ALSA keeps a pointer to it."""


def silence_alsa() -> None:
    """Keep ALSA from writing to standard error each time a device can not be opened."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(_ignore_alsa_error)


@contextlib.contextmanager
def quiet_standard_error() -> Iterator[None]:
    """Drop what C libraries write to standard error: JACK's client says tens of lines where no server runs."""
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def initialize() -> Any:
    """A `pyaudio.PyAudio`. Takes up to half a second: each device of the configuration is opened once.

    Raises `SinkError`. May also abort the process.
    """
    silence_alsa()
    try:
        with quiet_standard_error():
            return pyaudio.PyAudio()
    except OSError as error:
        raise SinkError(f"PortAudio can not start, check ALSA's configuration: {error.args[-1]}") from error


def outputs(portaudio: Any) -> list[OutputDevice]:
    """All devices that can play."""
    try:
        default_index = portaudio.get_default_output_device_info()["index"]
    except OSError:
        default_index = None
    devices = map(portaudio.get_device_info_by_index, range(portaudio.get_device_count()))
    return [
        OutputDevice(
            index=device["index"],
            name=device["name"],
            channels=device["maxOutputChannels"],
            rate_hz=int(device["defaultSampleRate"]),
            host_api=portaudio.get_host_api_info_by_index(device["hostApi"])["name"],
            is_default=device["index"] == default_index,
        )
        for device in devices
        if device["maxOutputChannels"] > 0
    ]


def open_output(portaudio: Any, device: OutputDevice, *, rate_hz: int, buffer_frames: int, render: Render) -> tuple[Any, int]:
    """A running stream, and its channels: mono, or stereo with both alike where the device plays no mono.

    Raises `SinkError` with PortAudio's reason, `RateError` where it plays another rate.
    """
    reason: OSError | None = None
    for channels in (1, 2)[: device.channels]:
        try:
            with quiet_standard_error():
                stream = portaudio.open(
                    rate=rate_hz,
                    channels=channels,
                    format=pyaudio.paInt16,
                    output=True,
                    output_device_index=device.index,
                    frames_per_buffer=buffer_frames,
                    stream_callback=_Callback(render, channels=channels, buffer_seconds=buffer_frames / rate_hz),
                )
        except OSError as error:
            reason = reason or error
        else:
            return stream, channels
    detail = reason.args[-1] if reason else "it has no channels"
    text = f"output {device} does not play {rate_hz} Hz: {detail}"
    if reason is not None and reason.errno == pyaudio.paInvalidSampleRate:
        for other_hz in _other_rates(device, rate_hz):
            if _plays(portaudio, device, other_hz):
                raise RateError(text, other_hz)
    raise SinkError(text)


def _other_rates(device: OutputDevice, rate_hz: int) -> list[int]:
    """Rates to try instead: the device's own, then those that hold all of the sound, the nearest first."""
    higher = sorted(rate for rate in _RATES_HZ if rate > rate_hz)
    lower = sorted((rate for rate in _RATES_HZ if rate < rate_hz), reverse=True)
    own = [device.rate_hz] if device.rate_hz > 0 else []
    return [rate for rate in dict.fromkeys([*own, *higher, *lower]) if rate != rate_hz]


def _plays(portaudio: Any, device: OutputDevice, rate_hz: int) -> bool:
    for channels in (1, 2)[: device.channels]:
        with contextlib.suppress(ValueError), quiet_standard_error():
            return bool(
                portaudio.is_format_supported(rate_hz, output_device=device.index, output_channels=channels, output_format=pyaudio.paInt16)
            )
    return False


class _Callback:
    """What PortAudio calls. It never raises (PyAudio would end the stream) and never gives less than was asked for."""

    def __init__(self, render: Render, *, channels: int, buffer_seconds: float) -> None:
        self._render = render
        self._channels = channels
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
        return (samples if self._channels == 1 else np.repeat(samples, self._channels)).tobytes(), pyaudio.paContinue

    def _is_newly_dry(self, now: float, status: int) -> bool:
        """One underflow shows in every callback of the burst that follows it: the same time stamp, the same underflow."""
        if not status & pyaudio.paOutputUnderflow or now - self._dry_at < self._buffer_seconds / 2:
            return False
        self._dry_at = now
        return True


def _raise_priority() -> None:
    """Let this thread run before others, as far as this user may: PyAudio's thread has no priority of its own, and a
    busy machine would keep it from its 20 ms. Needs CAP_SYS_NICE, or a limit for rtprio as Debian's group 'audio' may have."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(_REAL_TIME_PRIORITY))
    except OSError:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _NICE_PRIORITY)  # on Linux: this thread


def to_monotonic(current: float, *, monotonic: float, realtime: float) -> float:
    """PortAudio's time stamp of a callback as CLOCK_MONOTONIC, whatever its base.

    ALSA's hardware devices use CLOCK_MONOTONIC, PulseAudio's plug-in CLOCK_REALTIME, JACK a base of its own; for the
    last the time of entry is taken, which is later by what the interpreter needed.
    """
    for clock in (monotonic, realtime):
        age = clock - current
        if -_MAX_TIMESTAMP_LEAD_SECONDS <= age < _MAX_TIMESTAMP_AGE_SECONDS:
            return monotonic - age
    return monotonic
