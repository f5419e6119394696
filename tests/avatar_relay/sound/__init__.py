"""Tests of the readers of encoded sound."""
