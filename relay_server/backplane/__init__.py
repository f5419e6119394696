"""Messaging between relays, by subject. Used only in a cluster; a single relay imports nothing of this."""
