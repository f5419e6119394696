"""espeak-ng in its own process, as the source `speech` uses it.

Rules: one process for all conversations, started with the first piece. Pieces are spoken one at a time, each within `PIECE_LIMIT_S`. If the
process dies or takes longer, that piece fails, and the process is replaced for the next one.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from dataclasses import asdict
from functools import cache
from typing import Any, Protocol

import numpy as np

from relay_server.sources.coarticulation import Phoneme
from relay_server.sources.espeak import MAX_PIECE_SECONDS, EspeakError, Spoken, Voice, VoiceError
from relay_server.sources.espeak_worker import LENGTHS

PIECE_LIMIT_S = 10.0
"""A piece takes about 50 ms; a process that takes this long hangs."""
MAX_ANSWER_BYTES = MAX_PIECE_SECONDS * 48_000 * 2 + (4 << 20)


class Synthesiser(Protocol):
    """Speaks pieces of text. Its methods block; they may be called from any thread."""

    def rate(self) -> int:
        """The rate of all samples, in Hz. Raises `EspeakError`."""
        ...

    def speak(self, text: str, voice: Voice, *, is_ssml: bool = False) -> Spoken:
        """Speak one piece. Raises `EspeakError`, or `VoiceError` for an unknown voice."""
        ...


class EspeakProcess:
    """A `Synthesiser` with the library in a child process."""

    def __init__(self, command: tuple[str, ...] = (sys.executable, "-m", "relay_server.sources.espeak_worker")) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._rate_hz = 0

    def rate(self) -> int:
        """See `Synthesiser`. Starts the process, which takes ~0.3 s."""
        with self._lock:
            self._running()
            return self._rate_hz

    def speak(self, text: str, voice: Voice, *, is_ssml: bool = False) -> Spoken:
        """See `Synthesiser`. Concurrent callers wait."""
        request = json.dumps({"text": text, "voice": asdict(voice), "is_ssml": is_ssml}).encode() + b"\n"
        with self._lock:
            process = self._running()
            document, samples = self._exchange(process, request)
        phonemes = tuple(Phoneme(ipa, start_s, end_s) for ipa, start_s, end_s in document["phonemes"])
        return Spoken(document["rate_hz"], np.frombuffer(samples, "<i2").astype(np.int16), phonemes)

    def close(self) -> None:
        """End the process. It is started again when needed."""
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        # Its own session: Ctrl-C at the terminal is for the relay to handle, which may still have to speak.
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        document, _ = self._exchange(self._process, b"")
        self._rate_hz = int(document["rate_hz"])
        return self._process

    def _exchange(self, process: subprocess.Popen[bytes], request: bytes) -> tuple[Any, bytes]:
        """Send a request and read its answer. Ends the process and raises `EspeakError` if the answer is invalid."""
        assert process.stdin is not None and process.stdout is not None
        limit = threading.Timer(PIECE_LIMIT_S, process.kill)
        limit.start()
        try:
            process.stdin.write(request)
            process.stdin.flush()
            document_bytes, samples_bytes = LENGTHS.unpack(_read(process.stdout, LENGTHS.size))
            if document_bytes + samples_bytes > MAX_ANSWER_BYTES:
                raise EOFError
            document = json.loads(_read(process.stdout, document_bytes))
            samples = _read(process.stdout, samples_bytes)
        except (EOFError, OSError, ValueError) as error:
            status = self._end()
            raise EspeakError(f"espeak-ng failed on this text (exit status {status}); rephrase it") from error
        finally:
            limit.cancel()
        if "error" in document:
            raise (VoiceError if document.get("is_voice") else EspeakError)(document["error"])
        return document, samples

    def _end(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        # Leaving the context closes the pipes and waits.
        with process:
            pass
        return process.returncode


@cache
def shared() -> EspeakProcess:
    """The shared process of this program; ended at exit."""
    process = EspeakProcess()
    atexit.register(process.close)
    return process


def _read(stream: Any, size: int) -> bytes:
    data: bytes = stream.read(size)
    if len(data) != size:
        raise EOFError
    return data
