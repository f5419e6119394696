"""Source `local`: any file of speech; the mouth comes from the sound alone."""
