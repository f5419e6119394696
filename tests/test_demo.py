"""The demo: its options, its handling of child programs, and a complete run of the pair on real speech."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from edge_client.face.head import load_head
from scripts.demo_options import read_options
from tests.lab.backend import Published
from tests.lab.data import PROJECT_ROOT, shared_data
from tests.lab.models.own_head import arkit_shapes, own_head
from tests.lab.programs import ProgramError, running, while_running

SUMMARY_KEYS = {
    *("conversation_id", "trace_id", "audio_seconds_sent", "audio_seconds_played", "time_to_first_audio_ms"),
    *("underruns", "late_payloads", "dropped_payloads", "keyframes_received", "frames_shown", "frames_per_second"),
    *("skew_ms", "longest_hold_ms", "audio_sink", "renderer", "playback_finished"),
}


def run_demo(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the demo after set-up, in a separate process."""
    command = [sys.executable, "-m", "scripts.demo_pair", "--headless", "--out", str(out), *options]
    return subprocess.run(command, cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=55, check=False)


def test_demo_leaves_sound_pictures_trace_and_figures(tmp_path: Path) -> None:
    """One sentence through relay and edge client: all of it plays, the face moves with it, and all files are written."""
    done = run_demo(tmp_path, "--say", "The quick brown fox jumps over the lazy dog.")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary.keys() >= SUMMARY_KEYS
    assert summary["audio_seconds_sent"] > 1.5
    assert summary["playback_finished"]["reason"] == "completed"
    assert summary["playback_finished"]["position_ms"] == pytest.approx(summary["audio_seconds_sent"] * 1000, abs=20)
    assert summary["frames_shown"] > 0
    assert summary["keyframes_received"] > 0
    assert summary["skew_ms"].keys() >= {"p50", "p95", "p99", "max_abs", "mean"}
    with wave.open(str(tmp_path / "played.wav")) as played:
        assert played.getnframes() / played.getframerate() >= summary["audio_seconds_sent"]
    for name in ("face.gif", "contact-sheet.png", "skew.png"):
        assert (tmp_path / name).stat().st_size > 1000
    trace = json.loads((tmp_path / "trace.json").read_text())
    services = {
        attribute["value"]["stringValue"]
        for batch in trace["resourceSpans"]
        for attribute in batch["resource"]["attributes"]
        if attribute["key"] == "service.name"
    }
    assert services == {"demo-backend", "relay-server", "edge-client"}
    assert summary["trace_id"] in (tmp_path / "trace.json").read_text()


def test_demo_interrupts_after_seconds(tmp_path: Path) -> None:
    """`--seconds` cuts the speech short; this is not a failure."""
    done = run_demo(tmp_path, "--seconds", "1", "--say", "One two three four five six seven eight nine ten eleven twelve thirteen.")
    assert done.returncode == 0, done.stdout + done.stderr
    finished = json.loads((tmp_path / "summary.json").read_text())["playback_finished"]
    assert finished["interrupted"]
    assert 700 < finished["position_ms"] < 3000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_imported_head_speaks_a_real_conversation(tmp_path: Path) -> None:
    """The built-in head as a model, imported by its command, drawn by GLES while the recording plays to its end."""
    built_in, model, head = load_head(), tmp_path / "avatar.glb", tmp_path / "mine.head"
    model.write_bytes(own_head(built_in, arkit_shapes(built_in)).packed())
    subprocess.run([sys.executable, "-m", "edge_client", "import-head", str(model), "--out", str(head)], cwd=PROJECT_ROOT, check=True)
    done = run_demo(tmp_path / "out", "--head", str(head), "--recording", str(shared_data("avatarkit-recording-16k.json")))
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["playback_finished"]["reason"] == "completed"
    assert summary["frames_shown"] > 200
    assert "vector face" not in summary["renderer"]


def test_demo_tells_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    """A file that is not a recording ends the demo with its name and the reason; no program is left running."""
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    done = run_demo(tmp_path / "out", "--recording", str(bad))
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "bad.json is not motion that can be played: it is JSON, but neither" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--wav", "/no/such/file.wav"], "there is no file /no/such/file.wav"),
        (["--say", "  "], "the text is empty"),
        (["--seconds", "0"], "'0' is not a number of seconds"),
        (["--seconds", "nan"], "'nan' is not a number of seconds"),
        (["--say", "a", "--recording", __file__], "not allowed with"),
        (["--out", __file__], "is not a folder"),
    ],
)
def test_wrong_options_are_told(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is set up or started."""
    with pytest.raises(SystemExit) as caught:
        read_options(arguments)
    assert caught.value.code == 2
    assert text in capsys.readouterr().err


async def test_program_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    """The error names the program, its status and its last output."""
    command = [sys.executable, "-c", "print('no such port'); raise SystemExit(3)"]
    async with running("relay", command, tmp_path / "log", {}) as program:
        with pytest.raises(ProgramError, match=r"(?s)relay ended with status 3.*no such port"):
            await program.wait_for("listening", 20)


async def test_conversation_ends_when_a_program_does(tmp_path: Path) -> None:
    """A relay or a device that ends early is reported at once, without waiting for the conversation."""
    never = asyncio.Event()

    async def work() -> Published:
        await never.wait()
        raise AssertionError

    async with running("device", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log", {}) as program:
        with pytest.raises(ProgramError, match="device ended with status 3"):
            await while_running(work(), program)


async def test_program_ends_with_its_block(tmp_path: Path) -> None:
    """Holds also if the block raises, and if the program does not react to SIGTERM at once."""
    command = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]
    with pytest.raises(RuntimeError):
        async with running("sleeper", command, tmp_path / "log", {}) as program:
            pid = int((await program.wait_for(r"\d+", 20))[0])
            raise RuntimeError
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_program_ends_when_the_demo_is_killed(tmp_path: Path) -> None:
    """Even by SIGKILL: the kernel signals the child."""
    code = f"""
import asyncio, pathlib, sys
from tests.lab.programs import running
async def main():
    child = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]
    async with running("child", child, pathlib.Path({str(tmp_path / "log")!r}), {{}}) as program:
        print((await program.wait_for(r"\\d+", 20))[0], flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    demo = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=PROJECT_ROOT, stdout=asyncio.subprocess.PIPE)
    assert demo.stdout is not None
    child = int(await demo.stdout.readline())
    ended = os.pidfd_open(child)
    demo.send_signal(signal.SIGKILL)
    await demo.wait()
    readable, _, _ = await asyncio.to_thread(select.select, [ended], [], [], 20)
    os.close(ended)
    assert readable
