"""The loudspeaker: a process of its own, so that a busy parent never starves PortAudio's callback.

`python -m edge_client.audio.speaker` is the child. Parent and child share one piece of memory (`memory`) and a socket
(`channel`). Nothing here imports more than numpy and, in the child, pyaudio: the child has to be small.
"""
