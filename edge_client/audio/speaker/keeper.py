"""Manages a sink's speaker: starts and replaces it, and chooses between the card and a virtual one.

All state of the sink is accessed under its lock; methods marked so are called with it held.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import Protocol

from edge_client.audio.card_memory import CardMemory
from edge_client.audio.cards import CardFiles
from edge_client.audio.speaker.channel import DeviceOpened, Settings
from edge_client.audio.speaker.child import SpeakerChild
from edge_client.audio.speaker.memory import SpeakerMemory, SpeakerStatus
from edge_client.audio.speaker.tuning import BufferTuning
from edge_client.audio.speaker.virtual import VirtualSpeaker
from edge_client.children.supervision import ChildLimits, ChildState
from edge_client.children.supervisor import Supervisor
from edge_client.choices import Latency

logger = logging.getLogger(__name__)

Speaker = SpeakerChild | VirtualSpeaker

_LOOK_S = 0.5
"""Interval at which the kernel's list of cards is checked while none plays."""
_VIRTUAL = "a virtual device in real time (silent)"
LIMITS = ChildLimits(
    progress_us=3_000_000,  # PulseAudio may take 2.5 s before it asks for the first samples, or after an underrun
    first_progress_us=15_000_000,
    pauses_us=[*[50_000] * 4, 200_000, 500_000, *[1_000_000] * 10, *[1_500_000] * 100, 5_000_000],
    healthy_us=1_000_000,
)
"""An attempt takes 0.5 s, on a Raspberry Pi over 1 s. For some minutes, sound starts within 3 s of the card; then, within 10 s."""


class SpeakerOwner(Protocol):
    """What a sink provides to the keeper. All methods are called with `changed` held."""

    changed: threading.Condition

    def begin(self, memory: SpeakerMemory) -> None:
        """Set where a new speaker begins."""
        ...

    def adopt(self, speaker: Speaker, period_us: int) -> None:
        """Play into this speaker from now on. It takes `period_us` of sound at once."""
        ...

    def retire(self, fault: str) -> None:
        """Drop the speaker; because of a fault, unless that is empty. The keeper still closes it."""
        ...


class SpeakerKeeper:
    """Keeper of one sink. `fallback`: a run that finds no card plays into a virtual one until the first card appears."""

    def __init__(
        self,
        owner: SpeakerOwner,
        settings: Settings,
        *,
        fallback: bool,
        latency: Latency,
        release_after_s: float,
        cards: CardMemory,
        files: CardFiles,
    ) -> None:
        self._owner = owner
        self._settings = settings
        self._fallback = fallback
        self._release_after_s = release_after_s
        self._sounded_s = time.monotonic()
        self._files = files
        self._tuning = BufferTuning(settings.rate_hz, latency, cards)
        self._supervisor: Supervisor[SpeakerChild] = Supervisor("speaker", LIMITS, self._start_child, self._ended)
        self._looked_s = 0.0
        self._fingerprint = ""
        self._speaker: Speaker | None = None
        """The speaker in use; guarded by the owner's lock, as is all below."""
        self._replaced: SpeakerChild | None = None
        """Its end is intended."""
        self.is_released = False
        """Nothing was to be played for a while, and others may use the card."""
        self._had_card = False
        self._no_card = ""
        self._closing = False
        self.name = f"PyAudio on ALSA, {settings.device or 'the default output'}"
        """The output in use, or the last one."""
        self.card_key = ""
        """The key under which data of that card is stored; empty before the first one."""
        self.why = ""
        """Why no better output is used."""

    @property
    def failing(self) -> str:
        """Why no card plays; empty while one does, or is being opened for the first time."""
        standing = self._supervisor.standing
        return standing.reason if standing.state is ChildState.FAILING else ""

    @property
    def unheard(self) -> str:
        """Why nothing is heard while sound continues; else empty."""
        return self.failing or self._no_card if isinstance(self._speaker, VirtualSpeaker) else ""

    def start(self) -> None:
        """Start to open a card, in the background."""
        self._fingerprint = self._files.fingerprint()
        self._supervisor.start()

    def close(self) -> None:
        """Stop everything. Takes at most 3 s. Call it without the owner's lock."""
        with self._owner.changed:
            self._closing = True
        self._supervisor.close()
        with self._owner.changed:
            left, self._speaker = self._speaker, None
            self._owner.retire("")
        if isinstance(left, VirtualSpeaker):
            left.close()
        self._tuning.close()

    def look(self, *, sounding: bool) -> None:
        """Check the speaker. Call this several times a second, with the owner's lock held.

        A killed process is dropped, one whose card ran dry is restarted, and a card that the kernel has found is tried at once. An idle
        card is released, and reopened for sound.
        """
        speaker = self._speaker
        if sounding:
            self._sounded_s = time.monotonic()
            if self.is_released:
                self.is_released = False
                self._supervisor.rest(False)
        if not isinstance(speaker, SpeakerChild):
            self._look_for_cards()
        elif reason := self._killed_for(speaker):  # it plays nothing, even if a driver holds it in the kernel and it does not end
            self._speaker = None
            self._owner.retire(reason)
        elif speaker is not self._replaced and self._tuning.has_grown(speaker.memory[SpeakerStatus.DEVICE_DRY], sounding=sounding):
            self._replaced = speaker
            speaker.ask_to_end()
        elif speaker is not self._replaced and 0 < self._release_after_s <= time.monotonic() - self._sounded_s:
            self._replaced, self.is_released = speaker, True
            self._supervisor.rest(True)
            speaker.ask_to_end()

    def _look_for_cards(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_S:
            return
        self._looked_s = now_s
        fingerprint = self._files.fingerprint()
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            self._supervisor.hurry()

    def _killed_for(self, child: SpeakerChild) -> str:
        """Why the supervisor killed it; empty if it did not."""
        reason = self.failing if child.was_killed else ""
        return f"the speaker process was killed: {reason}; the sound device may have been unplugged" if reason else ""

    # Called on the supervisor's thread and on those of the children.

    def _start_child(self) -> SpeakerChild:
        settings = replace(self._settings, learned=self._tuning.learned())
        with self._owner.changed:
            return SpeakerChild(settings, self._owner.begin, self._opened)

    def _opened(self, child: SpeakerChild, opened: DeviceOpened) -> None:
        with self._owner.changed:
            if child.is_over or self._closing:
                return
            before, self._speaker = self._speaker, child
            if before is not None:
                self._owner.retire("")
            name = f"PyAudio on ALSA, {opened.device}"
            again = " again" if self._had_card and name == self.name else ""
            self._had_card, self.name, self.why = True, name, opened.why
            self.card_key = opened.key
            self._tuning.opened(opened)
            self._owner.adopt(child, opened.period_us)
            if child.is_over:  # it ended meanwhile
                self._speaker = None
                self._owner.retire("")
        if isinstance(before, VirtualSpeaker):
            before.close()
        rate = f", resampled to {opened.rate_hz} Hz" if opened.rate_hz != self._settings.rate_hz else ""
        why = f"; not into a better one, because: {opened.why}" if opened.why else ""
        logger.info("playing into %s%s%s%s", name, again, rate, why)

    def _ended(self, child: SpeakerChild, how: str) -> bool:
        with self._owner.changed:
            child.is_over = True
            wanted = child is self._replaced or self._closing
            if self._speaker is child:
                self._speaker = None
                self._owner.retire("" if wanted else self._killed_for(child) or how)
            begins_virtual = self._fallback and not self._had_card and self._speaker is None and not self._closing
            if begins_virtual:
                self._no_card = how
                self._begin_virtual()
        if begins_virtual:
            logger.warning("audio output: %s, because: %s", self.name, how)
        return wanted

    def _begin_virtual(self) -> None:
        self._speaker = virtual = VirtualSpeaker(self._settings.rate_hz)
        self._owner.begin(virtual.memory)
        virtual.start()
        self.name = _VIRTUAL
        self._owner.adopt(virtual, 0)
