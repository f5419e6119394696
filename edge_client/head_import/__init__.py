"""`edge-client import-head`: converts a model in glTF 2.0 binary or VRM to a head that the edge client draws.

The file is untrusted: sizes, counts, offsets, numbers and the tree of nodes are checked before they are used, and references outside
the file are never followed. `command` and `pictures` do I/O; all else is pure.
"""
