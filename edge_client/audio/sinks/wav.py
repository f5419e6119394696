"""Writes what a sink played into a WAV file, silence included.

The sizes in the header are updated each second, so that the file can be read after a crash.
"""

from __future__ import annotations

import logging
import struct
import threading
from pathlib import Path

from edge_client.audio.sink import Pcm

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_MAX_DATA_BYTES = 0xFFFFFFFF - _HEADER.size

logger = logging.getLogger(__name__)


class WavTap:
    """A tap for a sink: call it with each block as played. Mono, 16 bit. Thread-safe.

    A disk that is full or missing ends the recording, with one warning, and never the sound. Raises `OSError` if the file cannot be
    created.
    """

    def __init__(self, path: Path, rate_hz: int) -> None:
        self._path = path
        self.rate_hz = rate_hz
        """May be corrected while the file is open."""
        self._lock = threading.Lock()
        self._file = path.open("wb", buffering=0)
        self._data_bytes = 0
        self._header_at = 0
        self._open = True
        try:
            self._write_header()
        except OSError:
            self._file.close()
            raise

    def __call__(self, pcm: Pcm) -> None:
        """Append a block."""
        data = pcm.astype("<i2", copy=False).tobytes()
        with self._lock:
            if not self._open:
                return
            if self._data_bytes + len(data) > _MAX_DATA_BYTES:
                self._stop("it has reached 4 GiB, the most that a WAV file holds")
                return
            try:
                self._data_bytes += self._file.write(data)
                if self._data_bytes - self._header_at >= 2 * self.rate_hz:
                    self._write_header()
            except OSError as error:
                self._stop(str(error))

    def close(self) -> None:
        """Write the final sizes and close the file. More blocks are ignored."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            try:
                self._write_header()
                self._file.close()
            except OSError as error:
                logger.warning("recording %s is not complete: %s", self._path, error)

    def _stop(self, why: str) -> None:
        self._open = False
        logger.warning("recording %s ends here: %s", self._path, why)
        try:
            self._write_header()
        except OSError as error:
            logger.warning("recording %s has no sizes: %s", self._path, error)
        finally:
            self._file.close()

    def _write_header(self) -> None:
        rate, size = self.rate_hz, self._data_bytes
        header = _HEADER.pack(b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size)
        self._file.seek(0)
        self._file.write(header)
        self._file.seek(0, 2)
        self._header_at = size
