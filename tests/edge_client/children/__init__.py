"""Tests of supervised child processes."""
