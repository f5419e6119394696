"""Why a command failed, from its output. Pure."""

from __future__ import annotations

import re

_CAUSES = (
    ("No space left on device|enough free space|Disk quota exceeded", "the disk is full; free some space, and run it again"),
    ("Read-only file system", "the file system is read-only; remount it writable, and run it again"),
    ("certificate verify failed|certificate is not (yet )?valid", "a server's certificate was refused; check this machine's date and time"),
    (
        "Temporary failure (resolving|in name resolution)|Name or service not known|Could not resolve|Network is unreachable"
        "|No route to host|Failed to establish a new connection|Could not connect|Connection (refused|timed out|reset)"
        "|[Rr]ead timed out|ConnectTimeout",
        "a server on the network cannot be reached; check the connection, and run it again",
    ),
)
_ERROR = re.compile(r"\s*(E:|ERROR:|error:|failed\b|[\w./-]+: (error|cannot|user|group)\b)")


def cause_of(output: str) -> str:
    """A known cause and what to do about it; empty if none is known."""
    return next((advice for pattern, advice in _CAUSES if re.search(pattern, output)), "")


def last_error(output: str) -> str:
    """The last line that reports an error, else the last line."""
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if _ERROR.match(line)), lines[-1] if lines else "it printed nothing")
