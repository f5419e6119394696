"""Names of devices, publishers and conversations."""

import re

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

ID_RULE = "1 to 64 characters out of A-Z a-z 0-9 . _ -"
"""The rule in words, for error texts."""


def is_valid_id(text: str) -> bool:
    """Whether `text` may name a device, a publisher, a group or a conversation."""
    return _ID.fullmatch(text) is not None


def conversation_id_from(random_bytes: bytes) -> str:
    """A conversation id out of 12 or more random bytes, which the caller supplies (`os.urandom`)."""
    if len(random_bytes) < 12:
        raise ValueError(f"a conversation id takes 12 random bytes or more, got {len(random_bytes)}")
    return f"c-{random_bytes.hex()[:32]}"
