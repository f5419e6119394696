"""Builds the Debian package, and tries installations on a clean machine; the installer itself is `avatar_relay.installer`."""
