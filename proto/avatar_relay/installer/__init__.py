"""Puts avatar-relay onto a machine and keeps it there: `scripts/install`, `edge-client install`, `relay-server install`.

Standard library only: it also runs where nothing of the project is installed yet. `plan` and `trial` decide and are pure, `release` says
what is to be installed, `machine` does what is decided, `changes` goes to another version and back, `commands` is the command line.
"""
