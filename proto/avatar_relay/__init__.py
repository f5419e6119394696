"""Shared by relay and device: the schema (`v1`), and plain Python messages, limits and reasons.

`media` and `messages` are the types that both programs use; `wire` converts them to protobuf and back. Neither program imports the other;
both import this package.
"""
