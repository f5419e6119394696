"""What the engine owes the relay: credit for bytes that are used up, and word of payloads that were not used."""

from __future__ import annotations

from avatar_relay.media import Credit, Kind
from avatar_relay.messages import Dropped
from avatar_relay.reasons import DropReason

CREDIT_PERIOD_US = 3_000_000
"""Credit is sent at most this often, unless much has gathered: each message costs both ends as much as a payload does."""
_MUCH = 4
"""… which is so much of the whole room."""
DROP_PERIOD_US = 200_000
"""Drops of a conversation are told at most this often."""


class CreditLedger:
    """Each byte that came is granted back exactly once: when it was used, dropped or cleared. Not thread-safe."""

    def __init__(self, first: Credit) -> None:
        self._bound = {Kind.AUDIO: first.audio_bytes, Kind.MOTION: first.motion_bytes}
        self._outstanding = {Kind.AUDIO: 0, Kind.MOTION: 0}
        self._freed = {Kind.AUDIO: 0, Kind.MOTION: 0}
        self._granted_us = -CREDIT_PERIOD_US
        self.received_bytes = 0
        """All that came."""

    def first_grant(self) -> Credit:
        """All that may come from here on, as a new stream is told; what was freed and not granted is in it."""
        self._freed = {Kind.AUDIO: 0, Kind.MOTION: 0}
        audio, motion = (max(0, self._bound[kind] - self._outstanding[kind]) for kind in (Kind.AUDIO, Kind.MOTION))
        return Credit(audio, motion)

    def receive(self, kind: Kind, count: int) -> bool:
        """Bytes came. False if they are more than was granted."""
        self._outstanding[kind] += count
        self.received_bytes += count
        return self._outstanding[kind] + self._freed[kind] <= self._bound[kind]

    @property
    def is_flooded(self) -> bool:
        """Whether twice as much as all the room is outstanding: no relay that counts does that."""
        return any(self._outstanding[kind] > 2 * self._bound[kind] for kind in self._bound)

    def free(self, kind: Kind, count: int) -> None:
        """Bytes are used up."""
        if count > self._outstanding[kind]:
            raise ValueError(f"{count} bytes of {kind.value} freed, but only {self._outstanding[kind]} are outstanding")
        self._outstanding[kind] -= count
        self._freed[kind] += count

    def hurry(self) -> None:
        """What is freed is granted at once, the next time: a conversation is over, and nothing may follow for long."""
        self._granted_us = -CREDIT_PERIOD_US

    def grant(self, now_us: int) -> Credit | None:
        """What is to be granted now, None for nothing."""
        audio, motion = self._freed[Kind.AUDIO], self._freed[Kind.MOTION]
        much = audio * _MUCH >= self._bound[Kind.AUDIO] or motion * _MUCH >= self._bound[Kind.MOTION]
        if not (audio or motion) or (now_us - self._granted_us < CREDIT_PERIOD_US and not much):
            return None
        self._granted_us = now_us
        self._freed = {Kind.AUDIO: 0, Kind.MOTION: 0}
        return Credit(audio, motion)


class DropLedger:
    """Gathers drops by conversation, kind and reason, so that they are told as a few events. Not thread-safe."""

    def __init__(self) -> None:
        self._drops: dict[tuple[str, Kind, DropReason], tuple[int, int]] = {}
        self._told_us = 0
        self.payloads = 0
        self.late_payloads = 0

    def add(self, conversation_id: str, kind: Kind, reason: DropReason, payloads: int, count: int) -> None:
        """Payloads of `count` bytes were not used."""
        before = self._drops.get((conversation_id, kind, reason), (0, 0))
        self._drops[conversation_id, kind, reason] = (before[0] + payloads, before[1] + count)
        self.payloads += payloads
        self.late_payloads += payloads if reason is DropReason.LATE else 0

    def miss(self, payloads: int) -> None:
        """So many payloads of motion never came: the relay dropped them for sound (`LINK_NARROW`), and told their publisher itself."""
        self.payloads += payloads

    def tell(self, conversation_id: str) -> list[Dropped]:
        """What was dropped of one conversation, now: it is about to finish."""
        return [self._event(key) for key in list(self._drops) if key[0] == conversation_id]

    def tell_due(self, now_us: int) -> list[tuple[str, Dropped]]:
        """What was dropped of any, with the conversation; nothing before a period has passed."""
        if not self._drops or now_us - self._told_us < DROP_PERIOD_US:
            return []
        self._told_us = now_us
        return [(key[0], self._event(key)) for key in list(self._drops)]

    def _event(self, key: tuple[str, Kind, DropReason]) -> Dropped:
        payloads, count = self._drops.pop(key)
        return Dropped(key[1], payloads, count, key[2].value)
