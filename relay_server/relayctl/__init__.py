"""`relayctl`: the operator's command."""
