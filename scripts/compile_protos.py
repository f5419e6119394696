"""Generate the Python stubs of `proto/avatar_relay/`.

Hatchling runs this as a build hook. For a wheel, the stubs are generated in a temporary folder, so the sources may be read-only;
for an editable install they are written beside their sources. A wheel also contains the units of `system/`, which the installer
installs. By hand, `python scripts/compile_protos.py` writes the stubs beside their sources, and `… --descriptor-set FILE` writes
an image of the sources instead. Stubs are never committed: `pyproject.toml` pins the compiler to the oldest supported protobuf
runtime. `proto/google/` is for users of other languages; its Python modules come from the package googleapis-common-protos.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand, in an environment without the build backend
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
    """Run the bundled protoc over all our files; exits with its messages if it fails."""
    from grpc_tools import protoc as compiler

    includes = [PROTO, package_folder("grpc_tools") / "_proto"]
    files = sorted(str(path.relative_to(PROTO)) for path in SOURCES.rglob("*.proto"))
    status = compiler.main(["protoc", *(f"-I{path}" for path in includes), *options, *files])
    if status != 0:
        raise SystemExit(f"compile_protos: protoc failed with status {status}")


def generate(folder: Path) -> list[Path]:
    """Write the stubs below `folder`, in the folders of their packages; returns their paths."""
    protoc(f"--python_out={folder}", f"--pyi_out={folder}", f"--grpc_python_out={folder}")
    return sorted(path for suffix in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py") for path in folder.rglob(f"*{suffix}"))


class ProtoBuildHook(BuildHookInterface):  # type: ignore[misc]  # hatchling's class, or object where it is absent
    """Build hook of Hatchling that generates the stubs and adds them to the wheel."""

    _folder: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate the stubs before a build; `version` is `standard` or `editable`."""
        if version == "editable":
            generate(PROTO)
            return
        self._folder = tempfile.TemporaryDirectory(prefix="avatar-relay-stubs-")
        folder = Path(self._folder.name)
        build_data["force_include"] |= {str(path): str(path.relative_to(folder)) for path in generate(folder)}
        units = sorted(path for path in (ROOT / "system").iterdir() if path.suffix in (".service", ".path"))
        build_data["force_include"] |= {str(path): f"avatar_relay/installer/units/{path.name}" for path in units}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Clean up after a build."""
        del version, build_data, artifact_path
        if self._folder is not None:
            self._folder.cleanup()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Generate the Python stubs of proto/avatar_relay/.")
    parser.add_argument("--descriptor-set", type=Path, help="write a FileDescriptorSet (for buf and grpcurl) to this file instead")
    arguments = parser.parse_args()
    if arguments.descriptor_set is None:
        generate(PROTO)
    else:
        protoc("--include_imports", "--include_source_info", f"--descriptor_set_out={arguments.descriptor_set}")


if __name__ == "__main__":
    main()
