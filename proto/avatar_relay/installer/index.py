"""The contents of an index of releases, and checks on them. Pure.

INDEX/locks/cp311-aarch64.txt    the newest release for a Python and a machine: each package with its version and its hash
INDEX/simple/                    the wheels, in pip's layout
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

MAX_LOCK_BYTES = 100_000
_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)(?: --hash=sha256:[0-9a-f]{64})+")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def check_index(text: str) -> str:
    """Check an index address; returns it without a trailing slash, or an empty text unchanged.

    Its contents are run as root, so only HTTPS, or an address of this machine, is accepted. Raises `ValueError` that says what is accepted.
    """
    parts = urlsplit(text)
    plain = parts.scheme == "http" and parts.hostname in _LOOPBACK
    is_bare = text.isprintable() and " " not in text and "@" not in parts.netloc and not parts.query and not parts.fragment
    if text and not (is_bare and parts.hostname and (parts.scheme == "https" or plain)):
        raise ValueError("takes the HTTPS address of an index, without user, query or fragment")
    return text.rstrip("/")


def lock_place(python_tag: str, machine: str) -> str:
    """Path in an index of the lock for a Python (`cp311`) and a machine (`aarch64`)."""
    return f"locks/{python_tag}-{machine}.txt"


def locked_version(lock: str, project: str) -> str:
    """Return the project's version in a lock. Each line must pin one package by its hash. Raises `ValueError` for other lines."""
    versions: dict[str, str] = {}
    for line in lock.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"the lock has a line that pins nothing by its hash: {line[:80]!r}")
        versions[found[1].lower().replace("_", "-")] = found[2]
    if project not in versions:
        raise ValueError(f"the lock does not name {project}")
    return versions[project]
