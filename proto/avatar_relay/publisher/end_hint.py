"""A log hint for a backend that waits for a conversation to finish but never ended it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from avatar_relay.publisher.published_conversation import PublishedConversation

HINT_AFTER_S = 5.0
"""The hint follows after this long without new data from the caller and without data waiting to be sent."""

logger = logging.getLogger(__name__)


class EndHint:
    """Logs the hint once per conversation, however many callers wait for it."""

    def __init__(self) -> None:
        self._hinted_id = ""

    @contextmanager
    def watching(self, conversation: PublishedConversation) -> Iterator[None]:
        """Context in which the caller waits for the conversation to finish. Needs a running event loop."""
        loop, timer = asyncio.get_running_loop(), None

        def look(seen_payloads: int) -> None:
            nonlocal timer
            if not conversation.takes_audio:
                return
            if conversation.audio_payloads == seen_payloads and not conversation.is_waiting:
                self._hint(conversation.conversation_id)
            else:
                timer = loop.call_later(HINT_AFTER_S, look, conversation.audio_payloads)

        if conversation.takes_audio:
            timer = loop.call_later(HINT_AFTER_S, look, conversation.audio_payloads)
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()

    def _hint(self, conversation_id: str) -> None:
        if self._hinted_id == conversation_id:
            return
        self._hinted_id = conversation_id
        text = "conversation=%s: finished() waits, and its end was not sent for %g s: call end(), or hand over the last sound with end=True"
        logger.warning(text, conversation_id, HINT_AFTER_S)
