"""A replacement for `edge_client.face.gl.trial` over drivers that misbehave; SDL's driver names the kind. Run as a module."""

import json
import os
import signal
import sys
import time

PLAIN = json.dumps({"version": "OpenGL ES 3.1", "device": "a bad GPU", "vsync": True})


def main() -> None:
    """Misbehave."""
    match os.environ["SDL_VIDEODRIVER"]:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "crash-when-smooth":
            sys.stdout.write(PLAIN + "\n")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(60)
        case "hang-when-smooth":
            sys.stdout.write(PLAIN + "\n")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGALRM)  # set by the trial itself
        case "chatter":
            sys.stdout.write("MESA: warning: something\n" + PLAIN + "\n" + json.dumps({"samples": 4}) + "\n")
        case "refuse":
            sys.stdout.write(json.dumps({"error": "no EGL here"}) + "\n")
            sys.exit(1)
        case "nothing":
            sys.exit(3)


main()
