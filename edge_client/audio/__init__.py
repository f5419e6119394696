"""Sound: encoded payloads are decoded, ordered, timed and handed to a sink that pulls."""
