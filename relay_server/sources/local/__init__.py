"""Source `local`: any file of speech; the mouth is derived from the sound alone."""
