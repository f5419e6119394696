"""Several relays as one: doors, homes and tunnels over a backplane. Imported only by a relay of a cluster."""
