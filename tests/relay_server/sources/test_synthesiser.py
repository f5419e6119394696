"""espeak-ng in its own process: it may crash or hang, the relay may not."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from relay_server.sources import espeak, espeak_worker, synthesiser
from relay_server.sources.espeak import EspeakError, Voice, VoiceError
from relay_server.sources.espeak_worker import LENGTHS
from relay_server.sources.synthesiser import EspeakProcess

WORKER = """
import os, sys, time
from relay_server.sources.espeak_worker import LENGTHS
def answer(document, samples=b""):
    sys.stdout.buffer.write(LENGTHS.pack(len(document), len(samples)) + document + samples); sys.stdout.buffer.flush()
answer(b'{"rate_hz": 8000, "phonemes": []}')
for line in sys.stdin:
    if "crash" in line: os.kill(os.getpid(), 11)
    if "hang" in line: time.sleep(60)
    if "garbage" in line: sys.stdout.buffer.write(b"\\xff" * 64); sys.stdout.buffer.flush()
    if "cut" in line: sys.stdout.buffer.write(LENGTHS.pack(5, 5) + b"{}"); sys.stdout.buffer.flush(); os._exit(0)
    answer(b'{"rate_hz": 8000, "phonemes": [["a", 0, 0.5]]}', b"\\x01\\x00" * 4000)
"""
"""Behaves as the text requests."""


@pytest.fixture
def process() -> Iterator[EspeakProcess]:
    """A worker that misbehaves on demand."""
    process = EspeakProcess((sys.executable, "-c", WORKER))
    yield process
    process.close()


def test_pieces_are_spoken(process: EspeakProcess) -> None:
    """Samples and phonemes are returned."""
    spoken = process.speak("hello", Voice("en-us"))
    assert process.rate() == spoken.rate_hz == 8_000
    np.testing.assert_array_equal(spoken.samples, np.ones(4_000))
    assert [(p.ipa, p.start_s, p.end_s) for p in spoken.phonemes] == [("a", 0, 0.5)]


@pytest.mark.parametrize(("text", "status"), [("crash", "-11"), ("garbage", "-9"), ("cut", "0|-9")])
def test_a_worker_that_dies_fails_its_piece_and_is_replaced(process: EspeakProcess, text: str, status: str) -> None:
    """A new worker speaks the next piece."""
    with pytest.raises(EspeakError, match=rf"failed on this text \(exit status ({status})\)"):
        process.speak(text, Voice("en-us"))
    assert process.speak("hello", Voice("en-us")).samples.size == 4_000


def test_a_worker_that_hangs_is_ended(process: EspeakProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended after its time limit."""
    process.rate()
    monkeypatch.setattr(synthesiser, "PIECE_LIMIT_S", 0.2)
    with pytest.raises(EspeakError, match="failed on this text"):
        process.speak("hang", Voice("en-us"))


def test_closed_process_starts_again(process: EspeakProcess) -> None:
    """A closed process can be started again."""
    assert process.rate() == 8_000
    process.close()
    assert process.rate() == 8_000


def test_worker_that_can_not_start() -> None:
    """Reports the failure and leaves nothing behind."""
    with pytest.raises(EspeakError, match="failed on this text"):
        EspeakProcess((sys.executable, "-c", "raise SystemExit(3)")).rate()


def test_real_worker() -> None:
    """The library in its process returns the same as in this one."""
    try:
        library = espeak.load()
    except EspeakError as error:
        pytest.skip(str(error))
    process = EspeakProcess()
    try:
        spoken = process.speak("Bob.", Voice("en-us"))
        with pytest.raises(VoiceError, match="no voice"):
            process.speak("Bob.", Voice("klingon-7"))
        assert process.rate() == library.rate_hz
    finally:
        process.close()
    assert [phoneme.ipa for phoneme in spoken.phonemes if phoneme.ipa] == ["b", "ɑː", "b"]


def test_missing_library_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first reply names the package to install."""

    def missing() -> espeak.Espeak:
        raise EspeakError("install Debian's libespeak-ng1")

    monkeypatch.setattr(espeak, "load", missing)
    answers = io.BytesIO()
    espeak_worker.serve(io.BytesIO(), answers)
    assert json.loads(answers.getvalue()[LENGTHS.size :]) == {"error": "install Debian's libespeak-ng1"}
