"""What is run by hand: the demo, the checks, the benches, and what they share.

The edge client's command line keeps numpy's algebra to one thread before it is loaded; scripts that bring the client up by themselves
do so here, for all of them.
"""

import os

from edge_client.blas_threads import ONE_THREAD

for _variable, _value in ONE_THREAD.items():
    os.environ.setdefault(_variable, _value)
