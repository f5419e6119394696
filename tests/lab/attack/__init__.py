"""Attacks on a relay and on a device, and what others notice of them."""
