"""Heartbeats between relays, and how long they wait for them. Pure."""

BEAT_US = 450_000
"""Relays, and both ends of each tunnel and link in use, send something if they have not for this long: with ticks of 250 ms every 500."""
SILENCE_US = 1_600_000
"""A relay, or such an end, that is silent for this long is considered gone: three heartbeats and some delay."""
