"""The face in its own process: if GL, SDL or a display crashes or hangs, pictures are lost, never sound.

`python -m edge_client.face_process` is the child. It owns SDL and its events, GL, idle motion, the stamp, readback and the film; `host`
is the core's side. For each picture one packet goes each way (`edge_client.face.exchange`); `messages` has the other messages.
"""
