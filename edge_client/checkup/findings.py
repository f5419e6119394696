"""The results of a checkup: one finding for each part, as text and as JSON. Pure.

No finding contains a token, a key, or the contents of a settings file, so a report can be shown to anybody.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

MAX_TEXT = 400
"""Maximum length of a text or an advice, in characters."""


_WIDTH = 10
"""Length of the longest name of a part."""


class Health(enum.StrEnum):
    """Health of a part."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not as well as it could; or it cannot be determined here."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """A part, its health, and what to do about it; `advice` is empty if nothing is to be done."""

    part: str
    health: Health
    text: str
    advice: str = ""


def finding(part: str, health: Health, text: str, advice: str = "") -> Finding:
    """Make a finding; its texts are reduced to one line each, and truncated."""
    return Finding(part, health, _one_line(text), _one_line(advice))


def _one_line(text: str) -> str:
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def exit_status(findings: Iterable[Finding]) -> int:
    """Return 1 if a part failed, else 0."""
    return int(any(found.health is Health.FAILED for found in findings))


def as_text(findings: Sequence[Finding]) -> str:
    """A line for each part, and a second one that begins with an arrow if there is advice."""
    lines = []
    for found in findings:
        lines.append(f"{found.health:7}  {found.part:{_WIDTH}}  {found.text}")
        if found.advice:
            lines.append(f"{'':7}  {'':{_WIDTH}}  → {found.advice}")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding], about: Mapping[str, str]) -> str:
    """A JSON object: the fields of `about`, `exit_status`, and `findings`, a list of objects with `part`, `health`, `text` and `advice`."""
    report = {**about, "exit_status": exit_status(findings), "findings": [asdict(found) for found in findings]}
    return json.dumps(report, indent=2, ensure_ascii=False)
