"""Sound files of all kinds, made by real encoders, and their playback. The command is `scripts/media`."""
