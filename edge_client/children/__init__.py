"""Supervised child processes: code in which a driver can hang, abort or exit runs in one, so that only its own part fails.

`supervision` is the policy, `supervisor` the thread that carries it out, `child` one process, and `inside` the child's own side.
"""
