"""Pongs for tests."""

from avatar_relay.messages import Pong


def pong(ping_id: int) -> Pong:
    """Return a pong that answers this ping."""
    return Pong(ping_id, 0, 0, 0, 0)
