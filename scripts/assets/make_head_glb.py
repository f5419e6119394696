"""Write the built-in head as a model file: an example of the input of `edge-client import-head`, under CC0 like the head itself.

The file is glTF 2.0 binary with all 52 ARKit blendshapes; with --vrm it is VRM 0 or 1, with expressions for five vowels, lids and moods.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edge_client.face.head import load_head
from tests.lab.models.own_head import arkit_shapes, own_head
from tests.lab.models.own_vrm import own_vrm
from tests.lab.tool import BUILD, command_line


def main() -> int:
    """Write the model; returns the exit status."""
    parser = command_line("assets/make_head_glb", __doc__)
    parser.add_argument("--out", type=Path, default=BUILD / "head.glb", metavar="FILE", help="default build/head.glb")
    parser.add_argument("--vrm", type=int, choices=(0, 1), help="as VRM of this version")
    read = parser.parse_args()
    head = load_head()
    model = own_head(head, arkit_shapes(head)) if read.vrm is None else own_vrm(head, read.vrm)
    read.out.parent.mkdir(parents=True, exist_ok=True)
    read.out.write_bytes(model.packed())
    print(f"{read.out}: {read.out.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
