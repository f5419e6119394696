"""What breaks a format's rules and is heard nevertheless."""

from __future__ import annotations


class Irregularities:
    """Gathers them, each kind once, so that their number is bounded."""

    def __init__(self) -> None:
        self._kinds: set[str] = set()
        self._texts: list[str] = []

    def tell(self, kind: str, text: str) -> None:
        """One was found; the first of its kind counts."""
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._texts.append(text)

    def take(self) -> list[str]:
        """Those found since the last call."""
        if not self._texts:
            return []
        texts, self._texts = self._texts, []
        return texts
