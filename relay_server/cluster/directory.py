"""Which devices this relay has, and which relay has another device: claims, look-ups, heartbeats."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from avatar_relay.ids import is_valid_id
from avatar_relay.stream_numbers import is_newer
from relay_server.backplane.backplane import Backplane, BackplaneError, BackplaneMessage, NobodyError, Subscription
from relay_server.cluster.claims import Claim, ClaimKind, Verdict, decode_claim, judge
from relay_server.cluster.members import Members
from relay_server.cluster.names import ClusterNames
from relay_server.connections.relay import Relay
from relay_server.connections.watching import EventWatcher
from relay_server.core.events import DeviceAttached, DeviceDetached, DeviceLost, Shown
from relay_server.links.beats import BEAT_US

logger = logging.getLogger(__name__)

ASK_AGAIN_US = 2_000_000
"""A claim may be lost: a relay whose device is detached claims it again at this interval."""
FRESH_US = 8_000_000
"""Time in which a device whose relay was killed reconnects to another one, even if the machine is busy."""
LOOK_UP_S = 0.5
"""How long a relay may take to answer that it has a device."""


class DeviceDirectory:
    """One relay's view of the cluster's devices. `run` must run in a task. Changes are queued and published one after the other."""

    def __init__(
        self,
        relay: Relay,
        backplane: Backplane,
        names: ClusterNames,
        now_us: Callable[[], int],
        attached_at: Callable[[str, str], None],
    ) -> None:
        """`attached_at` is called with a device that attached, and its relay, which may be this one."""
        self._relay = relay
        self._backplane = backplane
        self._names = names
        self._now_us = now_us
        self._attached_at = attached_at
        self._mine: dict[str, Subscription] = {}
        self._attached_us: dict[str, int] = {}
        self._elsewhere: dict[str, str] = {}
        """The relay that last claimed a device; also contains devices that are moving between relays."""
        self._given_up: set[str] = set()
        """Expected devices for which conversations with other devices wait no longer."""
        self._to_tell: dict[str, ClaimKind] = {}
        """Devices for which a claim must be published."""
        self._not_told: dict[str, ClaimKind] = {}
        """The same, after an error: tried again with the claims of detached devices."""
        self._wake = asyncio.Event()
        self._beaten_us: int | None = None
        self._asked_us = self._began_us = now_us()
        self.members = Members()

    async def run(self) -> None:
        """Publish changes until cancelled. What cannot be published now follows when the backplane is available again."""
        while True:
            self._wake.clear()
            while self._to_tell:
                device_id, kind = next(iter(self._to_tell.items()))
                del self._to_tell[device_id]
                try:
                    await self._settle(device_id, kind)
                except BackplaneError as error:
                    logger.info("device %s is not claimed yet: %s", device_id, error)
                    self._not_told[device_id] = kind
                except Exception:
                    logger.exception("device %s is not claimed yet", device_id)
                    self._not_told[device_id] = kind
            await self._wake.wait()

    async def open(self) -> None:
        """Subscribe to claims and heartbeats. Raises `BackplaneError`.

        A relay that restarts before the others miss it takes leave of them first, so that they claim their devices from it, too.
        """
        await self._backplane.subscribe(self._names.claims, self._on_claim)
        await self._backplane.subscribe(self._names.beats, self._on_beat)
        await self.leave()

    async def home_of(self, device_id: str) -> str | None:
        """The relay that has a device; None if no relay answers. Raises `BackplaneError` if the backplane fails."""
        if self._relay.has(device_id):
            return self._names.relay
        try:
            return (await self._backplane.request(self._names.device(device_id), b"", LOOK_UP_S)).decode(errors="replace")
        except NobodyError:
            return None

    def last_home_of(self, device_id: str) -> str | None:
        """The other relay that claimed a device last, as far as this one has heard; None if there is none."""
        return self._elsewhere.get(device_id)

    def expects(self, device_id: str, *, among_others: bool) -> bool:
        """Whether a device that no relay has now may be moving between relays, and was not given up in this case: see `Ways.give_up`.

        A relay that has just started does not know earlier claims, and returns True.
        """
        return (device_id in self._elsewhere or self._is_fresh) and not (among_others and device_id in self._given_up)

    def all_told(self, within_s: float) -> bool:
        """See `Ways`."""
        return self.members.all_told(self._now_us() - round(within_s * 1e6), self._now_us())

    @property
    def _is_fresh(self) -> bool:
        return self._now_us() - self._began_us < FRESH_US

    def give_up(self, device_id: str, *, among_others: bool) -> None:
        """See `Ways`."""
        if among_others:
            self._given_up.add(device_id)
        else:
            self._elsewhere.pop(device_id, None)

    async def tick(self) -> None:
        """Publish a heartbeat, and from time to time claim detached devices again; call a few times a second. Raises `BackplaneError`."""
        now_us = self._now_us()
        if now_us - self._asked_us >= ASK_AGAIN_US:
            self._asked_us = now_us
            if not self._is_fresh:
                self._given_up.intersection_update(self._elsewhere)
            self._to_tell = {**self._not_told, **self._to_tell}
            self._not_told = {}
            for session in self._relay.sessions():
                if not session.attached:
                    self._to_tell.setdefault(session.device_id, ClaimKind.AGAIN)
            self._wake.set()
        if self._beaten_us is None or now_us - self._beaten_us >= BEAT_US:
            self._beaten_us = now_us
            await self._backplane.publish(self._names.beats, self._names.relay.encode())

    async def leave(self) -> None:
        """Announce that this relay leaves. Raises `BackplaneError`."""
        await self._backplane.publish(self._names.beats, b"-" + self._names.relay.encode())

    def claim_all(self) -> None:
        """After a partition: claim all devices of this relay."""
        for session in self._relay.sessions():
            self._to_tell.setdefault(session.device_id, ClaimKind.AGAIN)
        self._wake.set()

    # --- this relay's devices --------------------------------------------------------------------------------------

    def note(self, device_id: str, kind: ClaimKind) -> None:
        """Note that a device attached here, or that its stream or session ended."""
        if kind is ClaimKind.ATTACHED:
            self._attached_us[device_id] = self._now_us()
            self._elsewhere.pop(device_id, None)
            self._given_up.discard(device_id)
            self._attached_at(device_id, self._names.relay)
        self._to_tell[device_id] = kind
        self._wake.set()

    async def _settle(self, device_id: str, kind: ClaimKind) -> None:
        """Claim a device of this relay, and answer look-ups for it; forget a device that is gone."""
        mine = self._my_claim(device_id, kind)
        if mine is None:
            self._attached_us.pop(device_id, None)
            if (subscription := self._mine.pop(device_id, None)) is not None:
                await subscription.end()
                if device_id not in self._elsewhere:
                    gone = Claim(self._names.relay, device_id, ClaimKind.GONE, attached=False, age_us=0)
                    await self._backplane.publish(self._names.claim(device_id), gone.encode())
            return
        await self._backplane.publish(self._names.claim(device_id), mine.encode())
        if device_id not in self._mine:
            self._mine[device_id] = await self._backplane.subscribe(self._names.device(device_id), self._on_look_up)

    def _my_claim(self, device_id: str, kind: ClaimKind) -> Claim | None:
        presence = self._relay.presence(device_id)
        return None if presence is None else Claim(self._names.relay, device_id, kind, *presence)

    # --- received messages -----------------------------------------------------------------------------------------

    async def _on_look_up(self, message: BackplaneMessage) -> None:
        if message.reply:
            await self._quietly_publish(message.reply, self._names.relay.encode())

    async def _on_claim(self, message: BackplaneMessage) -> None:
        theirs = decode_claim(message.data)
        if theirs is None or theirs.relay == self._names.relay:
            return
        mine = self._my_claim(theirs.device_id, ClaimKind.AGAIN)
        if mine is None or not is_newer(mine.stream_number, theirs.stream_number):
            self._note(theirs)
            if theirs.attached:
                self._given_up.discard(theirs.device_id)
                self._attached_at(theirs.device_id, theirs.relay)
        if mine is None:
            return
        verdict = judge(mine, theirs, self._now_us() - self._attached_us.get(theirs.device_id, 0))
        if verdict is Verdict.HAND_OVER:
            logger.info("device %s is at relay %s now", theirs.device_id, theirs.relay)
            self._relay.hand_over(theirs.device_id, f"device {theirs.device_id} is at relay {theirs.relay} now")
        elif verdict is Verdict.ANSWER:
            await self._quietly_publish(self._names.claim(theirs.device_id), mine.encode())

    def _note(self, theirs: Claim) -> None:
        if theirs.kind is not ClaimKind.GONE:
            if theirs.attached or theirs.device_id not in self._elsewhere:
                self._elsewhere[theirs.device_id] = theirs.relay
        elif self._elsewhere.get(theirs.device_id) == theirs.relay:
            del self._elsewhere[theirs.device_id]

    async def _on_beat(self, message: BackplaneMessage) -> None:
        name = message.data.decode(errors="replace")
        if name.startswith("-"):
            self.members.left(name[1:])
        elif name != self._names.relay and is_valid_id(name) and self.members.heard(name, self._now_us()):
            logger.info("relay %s is there", name)
            self.claim_all()

    async def _quietly_publish(self, subject: str, data: bytes) -> None:
        try:
            await self._backplane.publish(subject, data)
        except BackplaneError as error:
            logger.info("not answered: %s", error)


class DirectoryWatcher(EventWatcher):
    """Reports to the directory which devices attach and detach."""

    def __init__(self, directory: DeviceDirectory) -> None:
        super().__init__(frozenset())
        self._directory = directory

    def show(self, unix_time_us: int, notice: Shown) -> None:
        """See `EventWatcher`. Stores nothing."""
        match notice:
            case DeviceAttached():
                self._directory.note(notice.device_id, ClaimKind.ATTACHED)
            case DeviceDetached() | DeviceLost():
                self._directory.note(notice.device_id, ClaimKind.AGAIN)
