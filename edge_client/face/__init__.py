"""The face: draws poses as pictures."""
