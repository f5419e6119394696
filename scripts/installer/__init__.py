"""Puts avatar-relay onto a machine and keeps it there: `scripts/install`. Standard library only: it runs before there is an environment.

`plan` decides and is pure, `trial` says whether a new release stays, `machine` does what is decided, `commands` is the command line.
"""
