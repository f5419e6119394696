"""Outputs for sound, each behind `AudioSink`."""
