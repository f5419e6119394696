"""Commands run by hand: the demo, checks and benchmarks, and their shared code.

The edge client's command line limits numpy's linear algebra to one thread before loading it. Scripts that start the client themselves
rely on this package to do the same.
"""

import os

from edge_client.blas_threads import ONE_THREAD

for _variable, _value in ONE_THREAD.items():
    os.environ.setdefault(_variable, _value)
