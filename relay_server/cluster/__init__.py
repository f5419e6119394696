"""Several relays as one cluster: doors, homes and tunnels over a backplane. Imported only by a relay in a cluster."""
