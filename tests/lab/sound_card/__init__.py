"""A sound card that is not there: a test device for ALSA that keeps time and keeps what it played."""
