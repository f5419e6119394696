"""A checker of import rules between packages: reads sources, imports nothing.

It works on `{dotted module name: source text}`, so that tests can check it with a few lines of code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

IMPURE_IMPORTS = frozenset(
    {
        *("concurrent", "multiprocessing", "queue", "subprocess", "threading"),
        *("asyncio", "fcntl", "grpc", "mmap", "os", "selectors", "shutil", "signal", "socket", "sys", "tempfile"),
        *("OpenGL", "pyaudio", "pygame", "soundfile"),
        *("datetime", "logging", "opentelemetry", "time"),
    }
)
"""Top-level modules that provide a clock, I/O, threads, a logger or the environment."""
IMPURE_CALLS = frozenset({"open", "print", "input"})
GENERATED = re.compile(r"_pb2(_grpc)?$")


@dataclass(frozen=True, slots=True)
class Import:
    """Module `target` is imported at `line`."""

    target: str
    line: int


@dataclass(frozen=True, slots=True)
class Module:
    """A parsed source file."""

    name: str
    tree: ast.Module
    imports: tuple[Import, ...]


def read_sources(root: Path, package: str) -> dict[str, str]:
    """All modules of a package below the import root `root`, without generated ones."""
    sources = {}
    for path in sorted((root / package).rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        if not GENERATED.search(name):
            sources[name] = path.read_text(encoding="utf-8")
    return sources


def parse(sources: Mapping[str, str]) -> dict[str, Module]:
    """Parse all; `from package import module` counts as an import of the module."""
    modules = {}
    for name, source in sources.items():
        tree = ast.parse(source, name)
        modules[name] = Module(name, tree, tuple(dict.fromkeys(_imports(tree, frozenset(sources)))))
    return modules


def _imports(tree: ast.Module, known: frozenset[str]) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ValueError(f"line {node.lineno}: a relative import; this project writes them in full")
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Import(inner if inner in known or GENERATED.search(inner) else node.module, node.lineno)


def is_in(module: str, rooms: frozenset[str]) -> bool:
    """Whether a module is one of `rooms`, or is inside one."""
    return any(module == room or module.startswith(room + ".") for room in rooms)


def forbidden_imports(modules: Mapping[str, Module], inside: frozenset[str], targets: frozenset[str], why: str) -> list[str]:
    """Describe the imports of `targets` in the packages `inside`."""
    return [
        f"{module.name}:{found.line} imports {found.target}: {why}"
        for module in modules.values()
        if is_in(module.name, inside)
        for found in module.imports
        if is_in(found.target, targets)
    ]


def impurities(modules: Mapping[str, Module], pure: frozenset[str]) -> list[str]:
    """Describe violations in the modules `pure`: clocks, I/O, threads, loggers, coroutines."""
    rooms = {name: modules[name] for name in sorted(pure)}
    found = forbidden_imports(rooms, pure, IMPURE_IMPORTS, "a pure room has no clock, I/O, thread, logger or environment")
    for name, module in rooms.items():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
                found.append(f"{name}:{node.lineno} is asynchronous: a pure room never waits")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
                found.append(f"{name}:{node.lineno} calls {node.func.id}: a pure room does no I/O")
    return found


def uses_of(modules: Mapping[str, Module], rooms: frozenset[str], target: str, *, but: frozenset[str]) -> list[str]:
    """Return the attributes of the imported module `target` that the modules `rooms` use, other than those in `but`."""
    return [
        f"{name}:{node.lineno} uses {target}.{node.attr}"
        for name in sorted(rooms)
        for node in ast.walk(modules[name].tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == target and node.attr not in but
    ]


def generated_types(modules: Mapping[str, Module], allowed: frozenset[str]) -> list[str]:
    """Return the imports of generated protobuf modules outside the packages `allowed`."""
    return [
        f"{module.name}:{found.line} imports {found.target}: protobuf types stop at the adapters"
        for module in modules.values()
        if not is_in(module.name, allowed)
        for found in module.imports
        if GENERATED.search(found.target) or is_in(found.target, frozenset({"google.protobuf", "google.rpc"}))
    ]


def cycle(modules: Mapping[str, Module]) -> list[str]:
    """Return one import cycle among the modules, empty if there is none."""
    graph = {name: {found.target for found in module.imports if found.target in modules} for name, module in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def folder_cycles(modules: Mapping[str, Module]) -> list[str]:
    """Return cycles among the children of each package, as `a <-> b <-> c`; a child is a module or a whole sub-package.

    Imports between two modules of the same child do not count at that level. A package's own `__init__` is not a child.
    """
    graphs: dict[str, dict[str, set[str]]] = {}
    for module in modules.values():
        for found in module.imports:
            if found.target not in modules:
                continue
            parent, importer, imported = _siblings(module.name, found.target)
            if importer and imported:
                graphs.setdefault(parent, {}).setdefault(importer, set()).add(imported)
    return sorted(" <-> ".join(sorted(component)) for graph in graphs.values() for component in _components(graph))


def _siblings(importer: str, imported: str) -> tuple[str, str, str]:
    """Return the common package of both, and the child of it that each is in; empty names if one is that package itself."""
    left, right = importer.split("."), imported.split(".")
    shared = 0
    while shared < min(len(left), len(right)) and left[shared] == right[shared]:
        shared += 1
    if shared in (len(left), len(right)):
        return ".".join(left[:shared]), "", ""
    return ".".join(left[:shared]), ".".join(left[: shared + 1]), ".".join(right[: shared + 1])


def _components(graph: Mapping[str, set[str]]) -> list[frozenset[str]]:
    """Strongly connected components of more than one node."""
    reached = {start: _reach(graph, start) for start in graph}
    found = {frozenset(other for other in reach if node in reached.get(other, ())) for node, reach in reached.items() if node in reach}
    return [component for component in found if len(component) > 1]


def _reach(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += graph.get(node, ())
    return seen


def classes_by_name(modules: Mapping[str, Module]) -> dict[str, list[str]]:
    """Return the modules that define each module-level class name."""
    homes: dict[str, list[str]] = {}
    for name, module in modules.items():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(name)
    return homes
