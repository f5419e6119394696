"""Encoded sound, as the relay, the device and the publisher library read it: one reader for each container.

Pure. `containers`, `wav`, `border` and `ogg` need no numpy: a publisher loads them.
"""
