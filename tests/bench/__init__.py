"""The pure parts of `scripts/bench/relay`."""
