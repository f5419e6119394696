"""The session stock: assignment, opening and closing of sessions."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from avatar_relay.media import AudioFormat, Codec
from avatar_relay.reasons import Fault, Reason
from relay_server.sources.avatarkit.session_stock import Close, Leased, Open, SessionRefused, SessionState, SessionStock, StockRules, Wait

A = AudioFormat(Codec.PCM_S16LE, 16_000)
B = AudioFormat(Codec.PCM_S16LE, 22_050)
SECOND = 1_000_000
FAULT = Fault(Reason.SOURCE_REFUSED, "no")


def stock(*, warm: int = 0, most: int = 2, idle_s: int = 60, longest_s: int = 0, jitter: float = 1.0) -> SessionStock:
    """A stock for 16 kHz."""
    return SessionStock(StockRules(A, warm, most, idle_s * SECOND, longest_s * SECOND), lambda: jitter)


def test_a_session_serves_one_conversation_after_the_other() -> None:
    """Opened for the first conversation, reused for the second."""
    it = stock()
    assert it.take("lobby", A, 0) == Open(1, A)
    it.opened(1, 0)
    it.released(1, 0)
    assert it.take("hall", A, 0) == Leased(1)


def test_a_device_has_one_session() -> None:
    """Its next conversation waits for it, and another device gets its own session."""
    it = stock()
    it.take("lobby", A, 0)
    assert it.take("lobby", A, 0) == Wait()
    assert it.take("hall", A, 0) == Open(2, A)


def test_no_more_than_allowed() -> None:
    """Later callers wait; an idle session of another format is closed for them, and counts until it is closed."""
    it = stock(most=1)
    it.take("lobby", A, 0)
    it.opened(1, 0)
    assert it.take("hall", B, 0) == Wait()
    it.released(1, 0)
    assert it.take("hall", B, 0) == Wait(Close(1))
    assert it.take("hall", B, 0) == Wait()
    it.gone(1)
    assert it.take("hall", B, 0) == Open(2, B)


def test_warm_sessions_are_kept_and_others_closed_when_idle() -> None:
    """The warm session is opened at once, and replaced when it is taken."""
    it = stock(warm=1, idle_s=10)
    assert it.tick(0) == [Open(1, A)]
    it.opened(1, 0)
    assert it.tick(100 * SECOND) == []
    assert it.take("lobby", A, 0) == Leased(1)
    assert it.tick(0) == [Open(2, A)]
    it.opened(2, 0)
    it.released(1, 5 * SECOND)
    assert it.tick(14 * SECOND) == []
    assert it.tick(15 * SECOND) == [Close(1)]


def test_an_idle_session_is_renewed_before_its_cap_and_never_doubled() -> None:
    """The old one is closed first if there is room for only one."""
    it = stock(warm=1, most=1, longest_s=100)
    it.tick(0)
    it.opened(1, 0)
    assert it.tick(79 * SECOND) == []
    assert it.next_deadline_us() == 80 * SECOND
    assert it.tick(80 * SECOND) == [Close(1)]
    it.gone(1)
    assert it.tick(80 * SECOND) == [Open(2, A)]


def test_failures_in_a_row_wait_longer_each_time() -> None:
    """A success resets the delay."""
    it = stock()
    waits = []
    for _ in range(8):
        it.failed(0, 0, FAULT)
        answer = it.take("lobby", A, 0)
        assert isinstance(answer, Wait)
        waits.append(answer.until_us)
    assert waits == [500_000, 1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000, 30_000_000, 30_000_000]
    it.worked()
    assert isinstance(it.take("lobby", A, 0), Open)


def test_a_warm_session_asks_for_nothing_by_time_alone() -> None:
    """Otherwise a caller that waits for the next deadline would spin on one that has passed."""
    it = stock(warm=1, idle_s=10)
    it.tick(0)
    it.opened(1, 0)
    assert it.next_deadline_us() is None
    it.take("lobby", A, 0)
    it.tick(0)
    it.opened(2, 0)
    it.released(1, 5 * SECOND)
    assert it.next_deadline_us() in (10 * SECOND, 15 * SECOND)
    it.gone(1)
    assert it.next_deadline_us() is None


def test_a_session_that_is_opened_and_lost_again_is_a_failure_in_the_row() -> None:
    """Each session is charged. A minute without a failure ends the row."""
    it = stock()
    now_us, waits = 0, []
    for _ in range(4):
        answer = it.take("lobby", A, now_us)
        assert isinstance(answer, Open)
        it.opened(answer.number, now_us)
        it.failed(now_us, 0, FAULT)
        it.gone(answer.number)
        waited = it.take("lobby", A, now_us)
        assert isinstance(waited, Wait) and waited.until_us is not None
        waits.append(waited.until_us - now_us)
        now_us = waited.until_us
    assert waits == [500_000, 1_000_000, 2_000_000, 4_000_000]
    now_us += 60 * SECOND
    it.failed(now_us, 0, FAULT)
    assert it.take("lobby", A, now_us) == Wait(until_us=now_us + 500_000)


def test_a_refusal_holds_everybody_off_but_open_sessions_serve_on() -> None:
    """No session is requested before it is over, not even warm ones."""
    it = stock(warm=1, jitter=0.0)
    it.tick(0)
    it.opened(1, 0)
    it.failed(0, 60 * SECOND, FAULT)
    assert it.take("lobby", A, 1) == Leased(1)
    assert it.take("hall", A, 1) == SessionRefused(FAULT)
    assert it.tick(59 * SECOND) == []
    assert it.tick(60 * SECOND) == [Open(2, A)]


class Life(RuleBasedStateMachine):
    """For any order of events the limits hold, and no session is shared."""

    opening = Bundle("opening")
    busy = Bundle("busy")
    closing = Bundle("closing")

    def __init__(self) -> None:
        super().__init__()
        self.stock = stock(warm=1, most=3, idle_s=5, longest_s=60)
        self.now_us = 0
        self.owners: dict[int, str] = {}

    @rule(target=opening, device=st.sampled_from("abcd"), audio_format=st.sampled_from((A, B)))
    def take(self, device: str, audio_format: AudioFormat) -> object:
        """A conversation requests a session."""
        answer = self.stock.take(device, audio_format, self.now_us)
        match answer:
            case Leased(number):
                assert device not in self.owners.values()
                self.owners[number] = device
            case Open(number):
                self.owners[number] = device
                return multiple(number)
            case Wait(Close(number)):
                self.stock.gone(number)
        return multiple()

    @rule(number=consumes(opening))
    def opened(self, number: int) -> None:
        """A session is established."""
        self.stock.opened(number, self.now_us)

    @rule(number=consumes(opening))
    def fails(self, number: int) -> None:
        """A session is unavailable."""
        self.owners.pop(number, None)
        self.stock.failed(self.now_us, 0, FAULT)
        self.stock.closing(number)
        self.stock.gone(number)

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        """Idle sessions are closed, warm ones opened; all conversations end meanwhile."""
        self.now_us += seconds * SECOND
        for number in list(self.owners):
            if self.stock.standing(number) is SessionState.BUSY:
                self.stock.released(number, self.now_us)
                del self.owners[number]
        for effect in self.stock.tick(self.now_us):
            if isinstance(effect, Open):
                self.stock.opened(effect.number, self.now_us)
            else:
                self.stock.gone(effect.number)

    @invariant()
    def limits_hold(self) -> None:
        """At most three, and at most one per device."""
        assert self.stock.count() <= 3
        assert len(set(self.owners.values())) == len(self.owners)


TestLife = Life.TestCase
