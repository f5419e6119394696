"""What an index of releases holds, and what is taken from it. Pure.

INDEX/locks/cp311-aarch64.txt    the newest release for a Python and a machine: each package with its version and its hash
INDEX/simple/                    the wheels, as pip looks for them
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

MAX_LOCK_BYTES = 100_000
_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)(?: --hash=sha256:[0-9a-f]{64})+")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def check_index(text: str) -> str:
    """The address of an index without a slash at its end, or nothing.

    What comes from it is run as root, so only HTTPS will do, or this machine. Raises `ValueError` that says what is taken.
    """
    parts = urlsplit(text)
    plain = parts.scheme == "http" and parts.hostname in _LOOPBACK
    is_bare = text.isprintable() and " " not in text and "@" not in parts.netloc and not parts.query and not parts.fragment
    if text and not (is_bare and parts.hostname and (parts.scheme == "https" or plain)):
        raise ValueError("takes the HTTPS address of an index, without user, query or fragment")
    return text.rstrip("/")


def lock_place(python_tag: str, machine: str) -> str:
    """Where an index has the lock for a Python (`cp311`) and a machine (`aarch64`)."""
    return f"locks/{python_tag}-{machine}.txt"


def locked_version(lock: str, project: str) -> str:
    """The version of a project in a lock, in which each line pins one package by its hash. Raises `ValueError` for any other line."""
    versions: dict[str, str] = {}
    for line in lock.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"the lock has a line that pins nothing by its hash: {line[:80]!r}")
        versions[found[1].lower().replace("_", "-")] = found[2]
    if project not in versions:
        raise ValueError(f"the lock does not name {project}")
    return versions[project]
