"""The face: poses become pictures."""
