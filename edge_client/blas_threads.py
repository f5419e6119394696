"""Limits the threads of numpy's linear algebra: it reads these variables when it is imported, so they must be set before."""

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Its threads would spin between pictures, and compete with those of sound and picture."""
