"""Requests a new release from the machine: touches a file, and systemd's path unit, which belongs to root, does the rest.

Nothing of an operator's request is written to the file: which release is installed, and from where, is in settings that only root can
write.
"""

from __future__ import annotations

import logging
from pathlib import Path

from avatar_relay.installer.plan import UPDATE_TRIGGER

logger = logging.getLogger(__name__)


def ask_for_update(folder: Path | None, index: str) -> None:
    """Touch the file in the state folder. Without an index, or a folder, the reason for doing nothing is logged."""
    if folder is None or not index:
        logger.warning("an operator asks for an update: %s", "there is no state folder" if index else "update_index is not set")
        return
    try:
        (folder / UPDATE_TRIGGER).write_bytes(b"")
    except OSError as error:
        logger.warning("an operator asks for an update: %s cannot be written: %s", folder / UPDATE_TRIGGER, error.strerror)
        return
    logger.warning("an operator asks for an update from %s: journalctl -u edge-client-update", index)
