"""The whole player on virtual time: an hour of playout in seconds, the same for the same seed."""
