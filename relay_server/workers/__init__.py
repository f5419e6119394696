"""`relay-server --workers N`: one address, N relays behind it that are a cluster, and the supervisor that keeps them going."""
