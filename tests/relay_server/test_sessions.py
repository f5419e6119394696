"""Sessions under random schedules: invariants hold for any order of steps."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from avatar_relay import messages as m
from avatar_relay.limits import MAX_CLOSED_CONVERSATIONS
from avatar_relay.media import Cursor, Kind
from relay_server.core.conversation import State
from tests.relay_server.relay_dsl import RelayDsl

DEVICES = ("lobby", "hall")


class Sessions(RuleBasedStateMachine):
    """Two publishers and two devices; each step is a possible one."""

    def __init__(self) -> None:
        super().__init__()
        self.house = RelayDsl()
        self.opened: list[str] = []
        self.house.play("lobby attaches; hall attaches")

    @property
    def open(self) -> list[str]:
        """Return the live conversations."""
        return sorted(self.house.registry.conversations)

    @rule(who=st.sampled_from("ab"), how=st.sampled_from(("", "queue")), where=st.sampled_from(("lobby", "hall", "everyone")))
    def opens(self, who: str, how: str, where: str) -> None:
        """A publisher opens a conversation."""
        name = f"c{len(self.opened) + 1}"
        self.opened.append(name)
        self.house.play(f"{who} opens {name} {how} on {where}")

    @precondition(lambda self: self.open)
    @rule(data=st.data(), verb=st.sampled_from(("audio", "motion", "ends", "interrupts", "pauses", "resumes", "audio-only")))
    def publishes(self, data: st.DataObject, verb: str) -> None:
        """Its publisher continues or stops."""
        name = data.draw(st.sampled_from(self.open))
        self.house.play(f"{self.house.registry.conversations[name].publisher} {verb} {name}")

    @rule(device=st.sampled_from(DEVICES), data=st.data())
    def finishes(self, device: str, data: st.DataObject) -> None:
        """A player finishes its conversation, or repeats its event."""
        session = self.house.registry.sessions.get(device)
        if session is None or not session.attached:
            return
        known = [name for name, delivery in session.deliveries.items() if delivery.announced] + list(session.closed)[-2:]
        if known:
            self.house.play(f"{device} finishes {data.draw(st.sampled_from(known))}")

    @rule(device=st.sampled_from(DEVICES), data=st.data())
    def comes_and_goes(self, device: str, data: st.DataObject) -> None:
        """A device detaches, returns with what it holds, or restarts."""
        session = self.house.registry.sessions.get(device)
        if session is None:
            self.house.play(f"{device} attaches")
        elif session.attached:
            self.house.play(f"{device} {data.draw(st.sampled_from(('leaves', 'leaves', 'goodbyes', 'attaches')))}")
        else:
            cursors = []
            for name, delivery in session.deliveries.items():
                if delivery.announced and data.draw(st.booleans()):
                    audio = data.draw(st.integers(delivery.held.audio_seq, delivery.sent.audio_seq))
                    motion = data.draw(st.integers(delivery.held.motion_seq, delivery.sent.motion_seq))
                    cursors.append(f"{name}:{audio}:{motion}")
            self.house.play(f"{device} returns {' '.join(cursors)}")

    @rule(device=st.sampled_from(DEVICES), data=st.data())
    def holds(self, device: str, data: st.DataObject) -> None:
        """A device reports what it holds."""
        session = self.house.registry.sessions.get(device)
        if session is not None and session.attached and session.deliveries:
            delivery = data.draw(st.sampled_from(list(session.deliveries.values())))
            audio = data.draw(st.integers(0, delivery.sent.audio_seq))
            self.house.play(f"{device} holds {delivery.open.conversation_id} {audio} 0")

    @rule(who=st.sampled_from("ab"))
    def vanishes(self, who: str) -> None:
        """A publisher leaves permanently."""
        self.house.play(f"{who} vanishes; wait 5")

    @rule(seconds=st.sampled_from((1, 10, 31)))
    def waits(self, seconds: int) -> None:
        """Time passes; leases expire."""
        self.house.play(f"wait {seconds}")

    @invariant()
    def finished_at_most_once(self) -> None:
        """At most one finished event per conversation and device."""
        finished = Counter(
            (message.conversation_id, message.device_id)
            for message in self.house.told
            if isinstance(message, m.PlayerEvent) and isinstance(message.body, m.Finished)
        )
        assert all(count == 1 for count in finished.values()), finished

    @invariant()
    def who_plays_what_agrees(self) -> None:
        """A conversation awaits the end of exactly those devices that have it, and sends to those on which it was not cut."""
        sessions = self.house.registry.sessions
        for name, conversation in self.house.registry.conversations.items():
            having = {device_id for device_id, session in sessions.items() if name in session.deliveries}
            assert conversation.playing == having
            assert set(conversation.delivering) == {device_id for device_id in having if not sessions[device_id].deliveries[name].cut}
            assert conversation.delivering or conversation.state is State.CLOSED
        for session in sessions.values():
            assert set(session.deliveries) <= set(self.house.registry.conversations)
            assert not set(session.deliveries) & set(session.closed)
            assert len(session.closed) <= MAX_CLOSED_CONVERSATIONS

    @invariant()
    def attached_devices_lack_nothing(self) -> None:
        """With credit for everything, all that may be sent has been sent."""
        for session in self.house.registry.sessions.values():
            first = next((delivery for delivery in session.deliveries.values() if not delivery.cut), None)
            if session.attached and first is not None:
                cursor = self.house.registry.conversations[first.open.conversation_id].cursor
                assert first.announced
                assert first.sent == Cursor(first.open.conversation_id, cursor.audio_seq, cursor.motion_seq)

    def teardown(self) -> None:
        """After all devices have left permanently, each conversation opened on a device has finished there."""
        self.house.play("a vanishes; b vanishes; wait 31")
        for device_id, session in list(self.house.registry.sessions.items()):
            if session.attached:
                self.house.play(f"{device_id} leaves")
        self.house.play("wait 31")
        assert not self.house.registry.conversations
        assert not self.house.registry.sessions
        opened = {
            (opened.conversation_id, device) for opened in self.house.told if isinstance(opened, m.Opened) for device in opened.device_ids
        }
        told = {
            (message.conversation_id, message.device_id)
            for message in self.house.told
            if isinstance(message, m.PlayerEvent) and isinstance(message.body, m.Finished) and message.device_id
        }
        assert opened == told


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_retained_bytes_are_bounded_and_trimmed_by_held() -> None:
    """What the device holds need not be retained; the rest is retained within bounds."""
    house = RelayDsl()
    house.play("lobby attaches; a opens c1; a audio c1 5; lobby holds c1 3 0")
    delivery = house.session("lobby").deliveries["c1"]
    assert [seq for _, run in delivery.retained for seq in run.seqs] == [4, 5]
    assert delivery.retained_bytes == 6_400
    for _ in range(3):
        house.play("a audio c1 500")
    assert delivery.retained_bytes <= 4 << 20
    assert delivery.forgotten[Kind.AUDIO] > 5
