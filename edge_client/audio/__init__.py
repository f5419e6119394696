"""Sound: encoded payloads are decoded, ordered, timed and passed to a sink that pulls."""
