"""Test models for the head import, made from the built-in head in the form in which other programs export them."""
