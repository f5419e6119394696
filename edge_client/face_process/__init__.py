"""The face in a process of its own: what GL, SDL or a display ends or hangs costs pictures, never sound.

`python -m edge_client.face_process` is the child. It owns SDL and its events, GL, idle life, the stamp, reading back and the film; `host`
is the core's side. Between them goes one packet each way for each picture (`edge_client.face.exchange`), and `messages` for the rest.
"""
