"""`relayctl`: the operator's terminal."""
