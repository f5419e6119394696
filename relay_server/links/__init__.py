"""Connections between relays of a cluster, beside the backplane."""
