"""Breaches of a format's rules that do not prevent playback."""

from __future__ import annotations


class Irregularities:
    """Collects them, each kind once, so that their number is bounded."""

    def __init__(self) -> None:
        self._kinds: set[str] = set()
        self._texts: list[str] = []

    def tell(self, kind: str, text: str) -> None:
        """Report one; only the first of its kind is kept."""
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._texts.append(text)

    def take(self) -> list[str]:
        """Those reported since the last call."""
        if not self._texts:
            return []
        texts, self._texts = self._texts, []
        return texts
