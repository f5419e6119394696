"""What is run by hand: the demo, the checks, the benches, and what they share.

The edge client's command line keeps numpy's algebra to one thread before it is loaded; scripts that bring the client up by themselves
do so here, for all of them. Its threads would spin between pictures and fight those of sound and picture.
"""

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
