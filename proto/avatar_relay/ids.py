"""Names of devices, publishers and conversations."""

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

ID_RULE = "1 to 64 characters out of A-Z a-z 0-9 . _ -"
"""The rule in words, for error texts."""


def is_valid_id(text: str) -> bool:
    """Whether `text` may name a device, a publisher, a group or a conversation."""
    return _ID.fullmatch(text) is not None


def mint_conversation_id(random_bytes: Callable[[int], bytes]) -> str:
    """A new conversation id. `random_bytes` returns the given number of random bytes (`os.urandom`).

    96 bits in 17 characters, which every media message carries: a collision is expected after some 2^48 ids (birthday bound). Begins with a
    letter, so that none looks like an option of a command.
    """
    return "c" + urlsafe_b64encode(random_bytes(12)).decode()
