"""Acknowledgements and credit that a home has collected for a publisher, merged. Pure.

They may wait: only a publisher without credit notices it. All other messages, such as events of a player, do not wait.
"""

from __future__ import annotations

from collections.abc import Iterable

from avatar_relay.media import Credit, Cursor
from avatar_relay.messages import ConversationCredit, Held, ToPublisher


def may_wait(message: ToPublisher) -> bool:
    """Whether a message may be sent later, merged with others."""
    return isinstance(message, Held | ConversationCredit)


def merged(messages: Iterable[ToPublisher]) -> list[ToPublisher]:
    """The same messages, with successive ones that may wait merged: the last cursor of each conversation, the sum of its credit."""
    found: list[ToPublisher] = []
    held: dict[str, dict[str, Cursor]] = {}
    credit: dict[str, Credit] = {}

    def settle() -> None:
        found.extend([Held(tuple(cursors.values()), device_id) for device_id, cursors in held.items()])
        found.extend([ConversationCredit(conversation_id, total) for conversation_id, total in credit.items()])
        held.clear()
        credit.clear()

    for message in messages:
        match message:
            case Held():
                cursors = held.setdefault(message.device_id, {})
                cursors.update({cursor.conversation_id: cursor for cursor in message.cursors})
            case ConversationCredit(conversation_id=conversation_id, credit=more):
                before = credit.get(conversation_id, _NONE)
                credit[conversation_id] = Credit(before.audio_bytes + more.audio_bytes, before.motion_bytes + more.motion_bytes)
            case _:
                settle()
                found.append(message)
    settle()
    return found


_NONE = Credit()
