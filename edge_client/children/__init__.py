"""Supervised child processes: what a driver can hang, abort or end runs in one, so that it costs its own part only.

`supervision` is the policy, `supervisor` the thread that carries it out, `child` one process, and `inside` the child's own side.
"""
