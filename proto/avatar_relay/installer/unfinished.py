"""The record of a change that has begun: an interrupted one is finished by the next run, or taken back by it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class UnfinishedChange:
    """The machine before the change."""

    before: str | None = None
    """The version that ran; None: this is the first one."""
    wanted: tuple[str, ...] = ()
    """Units that are to run."""
    settings: Mapping[str, str | None] = field(default_factory=dict)
    """Text of each settings file that the change replaces; None: there was none."""

    def as_text(self) -> str:
        """The record as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"


def read_unfinished(text: str) -> UnfinishedChange:
    """Parse a record. A damaged one is read as that of a first installation."""
    try:
        found = json.loads(text)
        return UnfinishedChange(found["before"], tuple(found["wanted"]), dict(found["settings"]))
    except (ValueError, TypeError, KeyError):
        return UnfinishedChange()
