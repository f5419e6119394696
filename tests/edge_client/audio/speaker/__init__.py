"""Tests of the speaker process and the memory it shares with its parent."""
