"""The loudspeaker: a separate process, so that a busy parent never starves PortAudio's callback.

`python -m edge_client.audio.speaker` is the child. Parent and child share one memory region (`memory`) and a socket (`channel`). Nothing
here imports more than numpy and, in the child, pyaudio: the child must be small.
"""
