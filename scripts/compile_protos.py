"""Generate the Python stubs of `proto/avatar_relay/` beside their sources.

Runs in two ways: as hatchling's build hook, for wheels and editable installs alike, and by hand as
`python scripts/compile_protos.py`, or `… --descriptor-set FILE` for an image of the sources instead. Stubs are never
committed: the compiler is pinned in `pyproject.toml` to the oldest protobuf runtime that we accept. `proto/google/` is there for
readers in other languages; its Python modules come from the package googleapis-common-protos.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # by hand, in an environment without the build backend
    BuildHookInterface = object

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
SOURCES = PROTO / "avatar_relay"


def package_folder(name: str) -> Path:
    """The folder of an installed (namespace) package."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"compile_protos: the Python package {name} is missing; install the build requirements of pyproject.toml")
    return Path(next(iter(spec.submodule_search_locations)))


def protoc(*options: str) -> None:
    """Run the bundled protoc over all our files; exits with its messages where it fails."""
    from grpc_tools import protoc as compiler

    includes = [PROTO, package_folder("grpc_tools") / "_proto"]
    files = sorted(str(path.relative_to(PROTO)) for path in SOURCES.rglob("*.proto"))
    status = compiler.main(["protoc", *(f"-I{path}" for path in includes), *options, *files])
    if status != 0:
        raise SystemExit(f"compile_protos: protoc failed with status {status}")


def generate() -> list[Path]:
    """Write the stubs and return their paths."""
    protoc(f"--python_out={PROTO}", f"--pyi_out={PROTO}", f"--grpc_python_out={PROTO}")
    return sorted(path for suffix in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py") for path in SOURCES.rglob(f"*{suffix}"))


class ProtoBuildHook(BuildHookInterface):  # type: ignore[misc]  # hatchling's class, or object where it is absent
    """Hatchling's hook: generate, and put the stubs into the wheel although git ignores them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called once per build by hatchling."""
        del version
        build_data["artifacts"] += [str(path.relative_to(ROOT)) for path in generate()]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Generate the Python stubs of proto/avatar_relay/.")
    parser.add_argument("--descriptor-set", type=Path, help="write a FileDescriptorSet (for buf and grpcurl) to this file instead")
    arguments = parser.parse_args()
    if arguments.descriptor_set is None:
        generate()
    else:
        protoc("--include_imports", "--include_source_info", f"--descriptor_set_out={arguments.descriptor_set}")


if __name__ == "__main__":
    main()
