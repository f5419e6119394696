"""Store the protobuf contract of an earlier revision as a FileDescriptorSet, for tests of version skew.

python scripts/store_contract.py REVISION tests/version_skew/NAME.binpb
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

from scripts.compile_protos import ROOT, package_folder
from tests.lab.tool import command_line

SOURCES = "proto/avatar_relay/v1"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def main() -> int:
    """Compile the `.proto` files of the revision with their imports; returns protoc's exit status."""
    parser = command_line("store_contract", __doc__)
    parser.add_argument("revision", help="any name of a commit that git knows")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        names = [name for name in _git("ls-tree", "-r", "--name-only", options.revision, SOURCES).split() if name.endswith(".proto")]
        for name in names:
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_git("show", f"{options.revision}:{name}"), encoding="utf-8")
        includes = [Path(folder) / "proto", package_folder("grpc_tools") / "_proto", package_folder("google.rpc").parent.parent]
        files = [str(Path(name).relative_to("proto")) for name in names]
        output = ["--include_imports", f"--descriptor_set_out={options.file}"]
        return int(protoc.main(["protoc", *(f"-I{path}" for path in includes), *output, *files]))


if __name__ == "__main__":
    sys.exit(main())
