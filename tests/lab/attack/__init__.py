"""Attacks on a relay and on a device, and their effect on others."""
