"""`relay-server --workers N`: N relays behind one address that form a cluster, and the supervisor that restarts them."""
