"""The built-in heads, by name, and the file from which a head is read. Pure.

The sources of their faces are listed in `scripts/assets/people.py`, which bakes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge_client.colours import AS_PAINTED, FaceColours

DEFAULT_HEAD = "maya"
CAST: Mapping[str, FaceColours] = {
    DEFAULT_HEAD: AS_PAINTED,
    "kofi": FaceColours(skin=(118, 87, 67), hair=(23, 19, 18), eyes=(72, 46, 30)),
    "hana": FaceColours(skin=(215, 169, 136), hair=(102, 100, 100), eyes=(66, 45, 32)),
    "henrik": FaceColours(skin=(208, 161, 138), hair=(137, 133, 130), eyes=(92, 124, 146)),
}
"""Each with its colours, for the eyes and for the vector face; the default one's are those in which both faces are painted."""

ASSETS = Path(__file__).parent / "face" / "assets"


def head_file(head: str) -> Path:
    """The file of a built-in head, by its name; any other text is the path of an imported one, in which `~` is the user's home.

    A folder distinguishes a file with the name of a built-in head: `./maya`. Raises `ValueError` if it is neither.
    """
    if head in CAST:
        return ASSETS / f"{head}.npz"
    if not head or "\0" in head:
        raise ValueError(f"takes one of {', '.join(CAST)}, or the file of a head that edge-client import-head made")
    try:
        return Path(head).expanduser()
    except RuntimeError as error:  # no HOME, or no such user
        raise ValueError(f"takes a name or a path; ~ cannot be resolved here ({error})") from error
