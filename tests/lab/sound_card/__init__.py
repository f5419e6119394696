"""A virtual sound card: a test device for ALSA that runs in real time and records what it plays."""
