"""Checks of a machine and an installed release: `edge-client self-test` and `edge-client doctor`.

`findings` has the results of both, `kernel_files` reads the kernel's files, `trials` run in their own processes.
"""
