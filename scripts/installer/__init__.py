"""Builds the Debian package and an index of releases, and tries installations on a clean machine.

The installer itself is `avatar_relay.installer`.
"""
