"""Sound files of all kinds, made by real encoders, and what is heard of them. The command is `scripts/media`."""
