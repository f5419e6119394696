"""Untrusted files: a head, or one clear line; never a traceback, a gigabyte or a minute."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge_client import cli
from edge_client.errors import ModelError
from edge_client.face.head import Head
from edge_client.head_import import glb
from edge_client.head_import.build import import_model
from tests.lab.data import PROJECT_ROOT
from tests.lab.models.odd_files import odd_files, small_model, with_large_textures
from tests.lab.models.own_head import add_ball, arkit_shapes, own_head

PROGRAM = """
import atexit, os, resource, sys
from edge_client.cli import main
atexit.register(lambda: print("DREW:", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, "CPU:", sum(os.times()[:4])))
atexit.register(lambda: print(open("/proc/self/status").read()))
sys.exit(main())
"""
MOST_KIB, MOST_S = 512 << 10, 60
_PATIENCE_S = 400


@pytest.fixture(scope="module")
def odd(built_in: Head) -> dict[str, tuple[bytes, str]]:
    """All of them."""
    return odd_files(built_in)


def test_each_is_refused_with_one_clear_line(odd: dict[str, tuple[bytes, str]]) -> None:
    """The line says what is wrong, and where or what to do."""
    said = {}
    for name, (file, pattern) in odd.items():
        with pytest.raises(ModelError) as caught:
            import_model(file)
        said[name] = str(caught.value)
        assert re.search(pattern, said[name], re.DOTALL), f"{name}: {said[name]}"
    assert all("\n" not in text and len(text) < 300 for text in said.values()), said


def test_the_command_exits_with_2(tmp_path: Path, odd: dict[str, tuple[bytes, str]], capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the file, and no output is left behind."""
    file = tmp_path / "a.glb"
    file.write_bytes(odd["truncated"][0])
    for arguments in ([str(file)], [str(tmp_path / "none.glb")], [str(tmp_path)], [str(file), "--out", str(file)], []):
        with pytest.raises(SystemExit) as caught:
            cli.main(["import-head", *arguments])
        assert caught.value.code == 2
        line = capsys.readouterr().err
        assert line.startswith("edge-client: error: ")
        assert line.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.glb"]


def test_a_file_of_200_mb_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 200 MB is refused by its size alone."""
    file = tmp_path / "huge.glb"
    file.write_bytes(b"")
    with file.open("wb") as sparse:
        sparse.truncate(200_000_000)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    with pytest.raises(SystemExit):
        cli.main(["import-head", str(file)])
    assert re.search(r"huge\.glb: it has 191 MiB, at most 128", capsys.readouterr().err)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_as_programs_they_stay_within_memory_and_time(
    tmp_path: Path, odd: dict[str, tuple[bytes, str]], model: bytes, built_in: Head
) -> None:
    """Each as a separate command; includes valid files of the largest size that is read. Time is that of the CPU."""
    files = {name: (file, 2) for name, (file, _) in odd.items()}
    files["good"] = (model, 0)
    large = own_head(built_in, arkit_shapes(built_in))
    add_ball(large, 300)
    files["90,000 vertices more"] = (large.packed(), 0)
    figures: list[str] = []
    files["padded"] = (model + bytes(glb.MAX_FILE_BYTES - len(model)), 0)
    files["60 textures"] = (with_large_textures(built_in, 57), 0)
    for name, (file, status) in files.items():
        path = tmp_path / "model.glb"
        path.write_bytes(file)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "import-head", str(path)],
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        kib = int(done.stdout.rsplit("VmHWM:", 1)[1].split()[0])
        drew, cpu_s = int(done.stdout.rsplit("DREW:", 1)[1].split()[0]), float(done.stdout.rsplit("CPU:", 1)[1])
        figures.append(f"{name}: exit {done.returncode}, {kib >> 10} and {drew >> 10} MiB, {cpu_s:.1f} s; {done.stderr.strip()}")
        assert done.returncode == status, f"{name}: {done.stderr}"
        assert 10 << 10 < kib <= MOST_KIB, figures[-1]
        assert drew <= MOST_KIB, figures[-1]
        assert 0 < cpu_s <= MOST_S, figures[-1]
        assert "Traceback" not in done.stderr
    sys.stdout.write("\n".join(figures) + "\n")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_damaged_models_are_heads_or_refused(built_in: Head) -> None:
    """Bytes that are changed, removed or duplicated, mostly in the JSON: only `ModelError` is raised."""
    good = small_model(built_in).packed()
    text_end = good.index(b"BIN\0")
    refused = 0
    for seed in range(300):
        rng = random.Random(seed)
        damaged = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(20, text_end if rng.random() < 0.8 else len(damaged))
            digit = chr(damaged[at]).isdigit()
            damaged[at] = rng.choice(b"0123456789") if digit else rng.randrange(256)
        try:
            import_model(bytes(damaged))
        except ModelError:
            refused += 1
    assert 0 < refused < 300
