"""What a checkup found: one finding for each part, as text and as JSON. Pure.

No finding holds a token, a key, or what a file of settings contains, so a report can be shown to anybody.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

MAX_TEXT = 400
"""Characters of a text or an advice."""


_WIDTH = 10
"""Of the longest name of a part."""


class Health(enum.StrEnum):
    """How a part is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and not as well as it could; or it cannot be known here."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One part, how it is, and what to do about it; `advice` is empty if nothing is to be done."""

    part: str
    health: Health
    text: str
    advice: str = ""


def finding(part: str, health: Health, text: str, advice: str = "") -> Finding:
    """A finding whose texts are one line each and not too long."""
    return Finding(part, health, _one_line(text), _one_line(advice))


def _one_line(text: str) -> str:
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def exit_status(findings: Iterable[Finding]) -> int:
    """1 if a part failed, else 0."""
    return int(any(found.health is Health.FAILED for found in findings))


def as_text(findings: Sequence[Finding]) -> str:
    """A line for each part, and a second one that begins with an arrow if something is to be done."""
    lines = []
    for found in findings:
        lines.append(f"{found.health:7}  {found.part:{_WIDTH}}  {found.text}")
        if found.advice:
            lines.append(f"{'':7}  {'':{_WIDTH}}  → {found.advice}")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding], about: Mapping[str, str]) -> str:
    """An object: what it is `about`, `exit_status`, and `findings`, a list of objects with `part`, `health`, `text` and `advice`."""
    report = {**about, "exit_status": exit_status(findings), "findings": [asdict(found) for found in findings]}
    return json.dumps(report, indent=2, ensure_ascii=False)
