"""What relay and device agree on: the schema (`v1`), and in plain Python its words, limits and reasons.

`media` and `messages` are the words both programs think in; `wire` turns them into protobuf and back. Neither program
imports the other; both import this.
"""
