"""What the engine owes the relay: credit for consumed bytes, and reports of payloads that were not used."""

from __future__ import annotations

from avatar_relay.media import Credit, Kind
from avatar_relay.messages import Dropped
from avatar_relay.reasons import DropReason

CREDIT_PERIOD_US = 3_000_000
"""Minimum interval between grants, unless much credit has accumulated: each message costs both ends as much as a payload does."""
_MUCH = 2
"""Freed credit of at least 1 / `_MUCH` of the total is granted at once."""
DROP_PERIOD_US = 200_000
"""Minimum interval between drop reports of a conversation."""


class CreditLedger:
    """Returns credit for each received byte exactly once: when it was used, dropped or cleared. Not thread-safe."""

    def __init__(self, first: Credit) -> None:
        self._bound = {Kind.AUDIO: first.audio_bytes, Kind.MOTION: first.motion_bytes}
        self._outstanding = {Kind.AUDIO: 0, Kind.MOTION: 0}
        self._freed = {Kind.AUDIO: 0, Kind.MOTION: 0}
        self._granted_us = -CREDIT_PERIOD_US
        self.received_bytes = 0
        """Total of received bytes."""

    def first_grant(self) -> Credit:
        """The total credit of a new stream; includes bytes freed and not granted yet."""
        self._freed = {Kind.AUDIO: 0, Kind.MOTION: 0}
        audio, motion = (max(0, self._bound[kind] - self._outstanding[kind]) for kind in (Kind.AUDIO, Kind.MOTION))
        return Credit(audio, motion)

    def receive(self, kind: Kind, count: int) -> bool:
        """Enter received bytes. Returns False if they exceed the credit."""
        self._outstanding[kind] += count
        self.received_bytes += count
        return self._outstanding[kind] + self._freed[kind] <= self._bound[kind]

    @property
    def is_flooded(self) -> bool:
        """Whether more than twice the total credit is outstanding: no relay that counts does that."""
        return any(self._outstanding[kind] > 2 * self._bound[kind] for kind in self._bound)

    def free(self, kind: Kind, count: int) -> None:
        """Mark bytes as consumed."""
        if count > self._outstanding[kind]:
            raise ValueError(f"{count} bytes of {kind.value} freed, but only {self._outstanding[kind]} are outstanding")
        self._outstanding[kind] -= count
        self._freed[kind] += count

    def hurry(self) -> None:
        """Grant freed bytes at once the next time: a conversation is over, and nothing may follow for long."""
        self._granted_us = -CREDIT_PERIOD_US

    def grant(self, now_us: int) -> Credit | None:
        """The credit to grant now; None if none."""
        audio, motion = self._freed[Kind.AUDIO], self._freed[Kind.MOTION]
        much = audio * _MUCH >= self._bound[Kind.AUDIO] or motion * _MUCH >= self._bound[Kind.MOTION]
        if not (audio or motion) or (now_us - self._granted_us < CREDIT_PERIOD_US and not much):
            return None
        self._granted_us = now_us
        self._freed = {Kind.AUDIO: 0, Kind.MOTION: 0}
        return Credit(audio, motion)


class DropLedger:
    """Collects drops by conversation, kind and reason, to report them as a few events. Not thread-safe."""

    def __init__(self) -> None:
        self._drops: dict[tuple[str, Kind, DropReason], tuple[int, int]] = {}
        self._told_us = 0
        self.payloads = 0
        self.late_payloads = 0

    def add(self, conversation_id: str, kind: Kind, reason: DropReason, payloads: int, count: int) -> None:
        """Enter payloads of `count` bytes as not used."""
        before = self._drops.get((conversation_id, kind, reason), (0, 0))
        self._drops[conversation_id, kind, reason] = (before[0] + payloads, before[1] + count)
        self.payloads += payloads
        self.late_payloads += payloads if reason is DropReason.LATE else 0

    def miss(self, payloads: int) -> None:
        """Count motion payloads that never arrived: the relay dropped them in favour of sound (`LINK_NARROW`), and reported that itself."""
        self.payloads += payloads

    def tell(self, conversation_id: str) -> list[Dropped]:
        """The drops of one conversation that is about to finish."""
        return [self._event(key) for key in list(self._drops) if key[0] == conversation_id]

    def tell_due(self, now_us: int) -> list[tuple[str, Dropped]]:
        """All drops, with their conversations; nothing before a period has passed."""
        if not self._drops or now_us - self._told_us < DROP_PERIOD_US:
            return []
        self._told_us = now_us
        return [(key[0], self._event(key)) for key in list(self._drops)]

    def _event(self, key: tuple[str, Kind, DropReason]) -> Dropped:
        payloads, count = self._drops.pop(key)
        return Dropped(key[1], payloads, count, key[2].value)
