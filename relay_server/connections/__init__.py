"""Streams of devices, publishers and watchers: passes their messages to the core and performs its effects."""
