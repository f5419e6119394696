"""Tests of the audio decoders."""
