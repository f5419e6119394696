"""Tests of the speaker process and what it shares with its parent."""
