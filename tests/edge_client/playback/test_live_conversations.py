"""The registry of conversations: never seen, live, closed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.limits import MAX_CLOSED_CONVERSATIONS, UNKNOWN_CONVERSATION_HOLD_BYTES, UNKNOWN_CONVERSATION_HOLD_US
from avatar_relay.media import Kind, OnPlaying, Payload
from avatar_relay.messages import AudioOnly, ConversationEnd, Media
from avatar_relay.reasons import DropReason
from edge_client.playback.live_conversations import ConversationState, LiveConversations
from tests.edge_client.playback_bench import open_

AUDIO = Payload(Kind.AUDIO, 1, b"12")
MOTION = Payload(Kind.MOTION, 1, b"1234", 0, 40_000)


def _media(conversation_id: str, size: int = 2) -> Media:
    return Media(conversation_id, (Payload(Kind.AUDIO, 1, bytes(size)),))


def test_replace_names_all_that_live_and_queue_none() -> None:
    """The caller interrupts them; the new one is last until then."""
    conversations = LiveConversations()
    conversations.open(open_("a"))
    queued = conversations.open(open_("b", on_playing=OnPlaying.QUEUE))
    replacing = conversations.open(open_("c"))
    assert queued is not None
    assert replacing is not None
    assert queued.replaced == ()
    assert replacing.replaced == ("a", "b")
    assert [conversation.conversation_id for conversation in conversations.live] == ["a", "b", "c"]


def test_only_open_opens() -> None:
    """Held media does not make an id live."""
    conversations = LiveConversations()
    conversations.hold(_media("a"), 0)
    assert conversations.standing("a") is ConversationState.NEVER_SEEN
    assert conversations.live == ()


def test_what_was_held_comes_out_with_open_in_order() -> None:
    """Media, audio-only and end alike."""
    conversations = LiveConversations()
    messages = (_media("a"), AudioOnly("a"), ConversationEnd("a", 1, 0))
    for message in messages:
        assert conversations.hold(message, 0)
    opening = conversations.open(open_("a"))
    assert opening is not None
    assert opening.held == messages
    assert conversations.expire(UNKNOWN_CONVERSATION_HOLD_US) == []


def test_what_is_held_expires_by_the_age_of_its_first() -> None:
    """Five seconds after its first message, held media is handed over to be counted."""
    conversations = LiveConversations()
    conversations.hold(_media("a"), 0)
    conversations.hold(_media("a"), 4_000_000)
    conversations.hold(_media("b"), 1_000_000)
    assert conversations.expire(UNKNOWN_CONVERSATION_HOLD_US - 1) == []
    ((conversation_id, messages),) = conversations.expire(UNKNOWN_CONVERSATION_HOLD_US)
    assert (conversation_id, len(messages)) == ("a", 2)


def test_hold_is_bounded_over_all_ids_also_for_empty_messages() -> None:
    """2 MiB, and every message has a minimum cost."""
    conversations = LiveConversations()
    half = UNKNOWN_CONVERSATION_HOLD_BYTES // 2
    assert conversations.hold(_media("a", half), 0)
    assert not conversations.hold(_media("b", half), 0)
    accepted = sum(conversations.hold(AudioOnly(f"c{number}"), 0) for number in range(40_000))
    assert accepted < 20_000
    conversations.expire(UNKNOWN_CONVERSATION_HOLD_US)
    assert conversations.hold(_media("b", half), 0)


@pytest.mark.parametrize(
    ("payload", "motion", "audio_only", "end", "refusal"),
    [
        (AUDIO, True, False, None, None),
        (MOTION, True, False, None, None),
        (MOTION, False, False, None, DropReason.NO_MOTION_FORMAT),
        (MOTION, True, True, None, DropReason.AUDIO_ONLY),
        (AUDIO, True, True, None, None),
        (AUDIO, True, False, ConversationEnd("a", 1, 1), None),
        (AUDIO, True, False, ConversationEnd("a", 0, 0), DropReason.AFTER_END),
        (MOTION, True, False, ConversationEnd("a", 1, 0), DropReason.AFTER_END),
    ],
)
def test_refusals(payload: Payload, motion: bool, audio_only: bool, end: ConversationEnd | None, refusal: DropReason | None) -> None:
    """What a live conversation accepts."""
    opening = LiveConversations().open(open_("a") if motion else open_("a", motion=None))
    assert opening is not None
    opening.conversation.audio_only = audio_only
    opening.conversation.end = end
    assert opening.conversation.refusal(payload) is refusal
    assert opening.conversation.expects_motion is (motion and not audio_only)


@given(st.lists(st.tuples(st.sampled_from(["open", "close"]), st.integers(0, 8)), max_size=80))
def test_an_id_goes_one_way(steps: list[tuple[str, int]]) -> None:
    """Never seen, live, closed: opened at most once, closed at most once."""
    conversations = LiveConversations()
    order = list(ConversationState)
    opened: set[str] = set()
    closed: set[str] = set()
    for what, number in steps:
        name = str(number)
        before = conversations.standing(name)
        if what == "open":
            opening = conversations.open(open_(name, on_playing=OnPlaying.QUEUE))
            assert (opening is not None) is (name not in opened | closed)
            opened |= {name} if opening is not None else set()
        else:
            assert conversations.close(name) is (name not in closed)
            closed.add(name)
        assert order.index(conversations.standing(name)) >= order.index(before)
    assert {conversation.conversation_id for conversation in conversations.live} == opened - closed


def test_closed_ids_are_bounded() -> None:
    """The oldest is forgotten first."""
    conversations = LiveConversations()
    for number in range(MAX_CLOSED_CONVERSATIONS + 1):
        conversations.close(str(number))
    assert conversations.standing("0") is ConversationState.NEVER_SEEN
    assert conversations.standing("1") is ConversationState.CLOSED
