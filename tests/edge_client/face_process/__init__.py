"""Tests of the face in a process of its own."""
