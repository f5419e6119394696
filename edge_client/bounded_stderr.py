"""Standard error of a child process, kept in a fixed amount of memory.

A library in a child may write without limit: PortAudio wrote 200 MB in 8 s after its card was unplugged. Such a child must neither fill the
journal nor block or fail because nobody reads.

The text goes to a memfd of `STDERR_BYTES` that is sealed against growth: a write beyond its end fails with EPERM, and the writer loses only
that text. Parent and child share one file offset, so the parent can move the writer back to the beginning and thereby keep the newest text.
"""

from __future__ import annotations

import fcntl
import os

STDERR_BYTES = 64 << 10
EXCERPT_CHARACTERS = 500


class BoundedStderr:
    """Pass `fileno()` to a child as its standard error. One thread; the child may write at any time."""

    def __init__(self) -> None:
        """Reserve the memory. Raises `OSError`."""
        self._descriptor = os.memfd_create("avatar-relay-stderr", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self._descriptor, STDERR_BYTES)
        fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)

    def fileno(self) -> int:
        """The descriptor to pass to the child."""
        return self._descriptor

    def make_room(self) -> None:
        """Overwrite the oldest text from now on, once half of the memory is used. Call it a few times a second."""
        if os.lseek(self._descriptor, 0, os.SEEK_CUR) >= STDERR_BYTES // 2:
            os.lseek(self._descriptor, 0, os.SEEK_SET)

    def excerpt(self) -> str:
        """The newest text as one printable line of at most `EXCERPT_CHARACTERS` characters; empty if nothing was written."""
        memory = os.pread(self._descriptor, STDERR_BYTES, 0)
        end = min(os.lseek(self._descriptor, 0, os.SEEK_CUR), STDERR_BYTES)
        text = (memory[end:] + memory[:end]).replace(b"\0", b"").strip().decode(errors="backslashreplace")
        line = "".join(character if character.isprintable() else _escaped(character) for character in text[-EXCERPT_CHARACTERS:])
        return f"…{line[-EXCERPT_CHARACTERS + 1 :]}" if len(text) > EXCERPT_CHARACTERS or len(line) > EXCERPT_CHARACTERS else line

    def close(self) -> None:
        """Release the parent's descriptor."""
        os.close(self._descriptor)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
