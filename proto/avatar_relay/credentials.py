"""Tokens travel in the metadata of an RPC, and nowhere else."""

from __future__ import annotations

import re

METADATA_KEY = "authorization"
_SCHEME = "Bearer "
_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")

TOKEN_RULE = "1 to 512 printable ASCII characters without spaces, on one line"
"""The rule in words, for error texts."""


def clean_token(text: str) -> str:
    """A token from a file or a variable, without surrounding whitespace. Raises `ValueError`, which never quotes it."""
    token = text.strip()
    if _TOKEN.fullmatch(token) is None:
        raise ValueError(f"holds no token: a token is {TOKEN_RULE}")
    return token


def metadata_of(token: str | None) -> tuple[tuple[str, str], ...]:
    """The metadata that carries a token; empty for None."""
    return () if token is None else ((METADATA_KEY, _SCHEME + token),)


def token_in(value: str) -> str | None:
    """The token in a value of `METADATA_KEY`; None if it is not a bearer token."""
    scheme, token = value[: len(_SCHEME)], value[len(_SCHEME) :]
    return token if scheme.lower() == _SCHEME.lower() and _TOKEN.fullmatch(token) else None
