"""What a home merges before it tells a publisher."""

from __future__ import annotations

from avatar_relay.media import Credit, Cursor
from avatar_relay.messages import ConversationCredit, GoAway, Held, Opened, Pong, ToPublisher
from relay_server.cluster.acknowledgements import may_wait, merged


def test_the_last_cursors_and_the_sum_of_credit_remain() -> None:
    """Of each device and conversation."""
    messages: list[ToPublisher] = [
        Held((Cursor("one", 1, 0), Cursor("two", 5, 5)), "lobby"),
        ConversationCredit("one", Credit(10, 20)),
        Held((Cursor("one", 2, 1),), "lobby"),
        Held((Cursor("one", 1, 1),), "desk"),
        ConversationCredit("two", Credit(1, 0)),
        ConversationCredit("one", Credit(1, 2)),
    ]
    assert merged(messages) == [
        Held((Cursor("one", 2, 1), Cursor("two", 5, 5)), "lobby"),
        Held((Cursor("one", 1, 1),), "desk"),
        ConversationCredit("one", Credit(11, 22)),
        ConversationCredit("two", Credit(1, 0)),
    ]


def test_other_messages_keep_their_place() -> None:
    """They do not wait, and nothing is merged across them."""
    opened, pong = Opened("one", ("lobby",)), Pong(1, 0, 0, 0, 0)
    held: list[ToPublisher] = [Held((Cursor("one", number, 0),), "lobby") for number in (1, 2, 3)]
    assert merged([opened, held[0], held[1], pong, held[2]]) == [opened, held[1], pong, held[2]]
    assert [may_wait(message) for message in (*held, ConversationCredit("one", Credit()), opened, pong, GoAway("drain", 0))] == [
        True
    ] * 4 + [False] * 3
