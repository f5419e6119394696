"""docs/protocol.md: each rule names existing tests, each number matches the code, each reason is listed with its status."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from avatar_relay.reasons import STATUS_CODES, DropReason, FinishReason
from relay_server.config import RelayConfig
from tests.lab.data import PROJECT_ROOT

PAGE = (PROJECT_ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
RULES = {name: text for name, text in re.findall(r"^- \*\*([A-Z]?\d+)\*\* (.*?)(?=^- |^$|^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)}
NUMBERS = re.findall(r"^\| [^|]+ \| ([^|]+) \| `([\w.]+):(\w+)` \|$", PAGE, re.MULTILINE)
UNITS = {"": 1.0, "KiB": 1 << 10, "MiB": 1 << 20, "ms": 1e-3, "s": 1.0}
UNIT_OF_CONSTANT = {"US": 1e-6, "MS": 1e-3}


@pytest.mark.parametrize("rule", RULES)
def test_rule_names_tests_that_exist(rule: str) -> None:
    """At least one test, by its name in its file."""
    named = re.findall(r"`([\w/]+\.py)::([^`]+)`", RULES[rule])
    assert named
    missing = [f"{path}::{name}" for path, name in named if not _holds(PROJECT_ROOT / "tests" / path, name)]
    assert missing == []


def _holds(path: Path, name: str) -> bool:
    """Whether a file contains a test function, or a case of a table, of this name."""
    return path.is_file() and re.search(rf'def {re.escape(name)}\(|"{re.escape(name)}"', path.read_text(encoding="utf-8")) is not None


def test_no_rule_is_left_out() -> None:
    """The twelve of a conversation, and each section numbered without gaps."""
    numbers: dict[str, list[int]] = {}
    for rule in RULES:
        letter = rule if rule.isdigit() else rule[0]
        numbers.setdefault("" if rule.isdigit() else letter, []).append(int(rule.strip("SPCHERFV")))
    assert set(numbers) == set("SPCHERFV") | {""}
    assert len(numbers[""]) == 12
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())


@pytest.mark.parametrize(("value", "module", "constant"), NUMBERS, ids=[constant for _, _, constant in NUMBERS])
def test_number_is_that_of_the_code(value: str, module: str, constant: str) -> None:
    """Compares a value and its unit on the page with the constant."""
    number, _, unit = value.strip().partition(" ")
    real = getattr(importlib.import_module(module), constant) * UNIT_OF_CONSTANT.get(constant.rpartition("_")[2], 1.0)
    assert float(number.replace(",", "")) * UNITS[unit] == pytest.approx(real)


@pytest.mark.parametrize(
    ("rule", "told", "setting", "value"),
    [
        ("C6", "2.5 MiB of each kind", "window_bytes", 2.5 * (1 << 20)),
        ("11", "more than 8 MiB", "lag_bytes", 8 << 20),
        ("P9", "at most 50,000 payloads", "max_payloads_per_second", 50_000),
        ("H2", "for 30 s", "retention_us", 30_000_000),
        ("H2", "up to 4 MiB", "retention_bytes", 4 << 20),
        ("R13", "20 s unless set otherwise", "drain_grace_us", 20_000_000),
    ],
    ids=lambda value: str(value),
)
def test_default_of_the_relay_is_that_of_the_code(rule: str, told: str, setting: str, value: float) -> None:
    """The defaults of settings that an operator can change."""
    assert told in " ".join(RULES[rule].split())
    assert getattr(RelayConfig(), setting) == value


def test_every_constant_of_the_limits_that_others_need_is_told() -> None:
    """A new constant in `avatar_relay.limits` must be on the page, unless it concerns formats, which the .proto files describe."""
    limits = importlib.import_module("avatar_relay.limits")
    told = {constant for _, module, constant in NUMBERS if module == limits.__name__}
    of_formats = re.compile(r"(PCM|OPUS)_RATES?_HZ|\w+_KEYFRAMES_PER_SECOND|MAX_BLENDSHAPE_NAMES")
    assert {name for name in vars(limits) if name.isupper() and not of_formats.fullmatch(name)} == told


def test_reasons_are_those_of_the_code() -> None:
    """Each with the status it is sent as."""
    told = re.findall(r"^\| `([A-Z_]+)` \| ([A-Z_]+) \|", PAGE, re.MULTILINE)
    assert told == [(reason.value, code) for reason, code in STATUS_CODES.items()]
    for reason in (*FinishReason, *DropReason):
        assert f"`{reason.value}`" in PAGE


def test_its_commands_work(tmp_path: Path) -> None:
    """As typed by a reader, in the project's folder, with the programs of the environment."""
    (block,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TMPDIR": os.fspath(tmp_path)}
    subprocess.run(["bash", "-euc", block], cwd=PROJECT_ROOT, env=environment, check=True, timeout=50)
    assert len(list(tmp_path.rglob("*_pb2.py"))) == 2
