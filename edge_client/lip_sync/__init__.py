"""Continuous measurement of the skew between sound and face."""
