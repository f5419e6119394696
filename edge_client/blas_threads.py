"""How numpy's linear algebra is held back: it reads these variables when it is loaded, so they are set before."""

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Its threads would spin between pictures, and fight those of sound and picture."""
