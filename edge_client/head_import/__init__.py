"""`edge-client import-head`: a model in glTF 2.0 binary or VRM becomes a head that the edge client draws.

The file is untrusted: sizes, counts, offsets, numbers and the tree of nodes are checked before they are used, and nothing in it is followed
outside of it. `command` and `pictures` touch the world; all else is pure.
"""
