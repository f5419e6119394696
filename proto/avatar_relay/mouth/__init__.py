"""Mouth motion from audio, shared by both programs. Pure numpy."""
