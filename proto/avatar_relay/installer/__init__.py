"""Installs avatar-relay on a machine and maintains it: `scripts/install`, `edge-client install`, `relay-server install`.

Standard library only: it also runs before anything of the project is installed. `plan` and `trial` decide and are pure, `release` finds
what to install, `machine` carries out decisions, `changes` switches between versions, `commands` is the command line.
"""
