"""The bench's untraced relay lacks only tracing."""

from __future__ import annotations

import ast

from scripts.bench.untraced import stripped
from tests.lab.data import PROJECT_ROOT

SOURCE = """
def account(self, runs):
    size = sum(runs)
    queued = now() - min(runs)
    self._observer.sent(size, queued)
    effects.append(PayloadsReceived(size))
    effects.append(WakeDevice())
    return size
"""


def test_observers_are_not_told_and_nothing_is_worked_out_for_them() -> None:
    """Values that are also used elsewhere stay."""
    tree, removed = stripped(SOURCE)
    assert removed == 2
    text = ast.unparse(tree)
    assert "observer" not in text
    assert "queued" not in text
    assert "size = sum(runs)" in text
    assert "WakeDevice" in text


def test_the_relay_loses_what_it_does_for_each_payload() -> None:
    """Otherwise a renamed observer would turn the comparison into one of the relay with itself."""
    removed = {path.name: stripped(path.read_text(encoding="utf-8"))[1] for path in (PROJECT_ROOT / "relay_server").rglob("*.py")}
    assert min(removed[name] for name in ("publisher_commands.py", "relay.py", "devices.py")) >= 1
