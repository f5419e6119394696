"""Readers of encoded audio for the relay, the device and the publisher library: one per container.

Pure. `containers`, `wav`, `border` and `ogg` need no numpy: a publisher loads them.
"""
