"""Runs the relay with all tracing code removed: `python -m scripts.bench.untraced ARGUMENTS OF relay-server`.

While the relay's modules are loaded, every statement that calls the observer is removed, then every notice meant only for the
observer, then every local variable that is no longer read. `scripts.bench.tracing_cost` compares the relay with this one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

ROOM = "relay_server"
OBSERVERS = frozenset({"observer", "_observer"})
NOTICES = frozenset({"PayloadsReceived", "FinishedIgnored"})
"""Effects that only the observer receives."""


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def tells_observer(statement: ast.stmt) -> bool:
    """Whether a statement calls the observer, or passes on data that only the observer uses."""
    if not isinstance(statement, ast.Expr) or not isinstance(call := statement.value, ast.Call):
        return False
    if isinstance(call.func, ast.Attribute) and _name(call.func.value) in OBSERVERS:
        return True
    return _name(call.func) == "append" and any(isinstance(one, ast.Call) and _name(one.func) in NOTICES for one in call.args)


class Untraced(ast.NodeTransformer):
    """Removes the statements; `removed` counts them."""

    def __init__(self) -> None:
        self.removed = 0

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        """Return the statement, or `pass`."""
        if not tells_observer(node):
            return node
        self.removed += 1
        return ast.copy_location(ast.Pass(), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Remove code of a function that only served removed statements."""
        before = self.removed
        self.generic_visit(node)
        while self.removed > before and (unread := _unread(node)):
            _Forget(unread).visit(node)
        return node


class _Forget(ast.NodeTransformer):
    """Removes assignments to names."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        return ast.copy_location(ast.Pass(), node) if _assigned(node) in self._names else node


def _assigned(node: ast.Assign) -> str:
    return node.targets[0].id if len(node.targets) == 1 and isinstance(node.targets[0], ast.Name) else ""


def _unread(function: ast.FunctionDef) -> frozenset[str]:
    read = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store)}
    return frozenset(_assigned(node) for node in ast.walk(function) if isinstance(node, ast.Assign)) - read - {""}


def stripped(source: str, name: str = "<source>") -> tuple[ast.Module, int]:
    """Return a module without its tracing, and the number of removed statements."""
    untraced = Untraced()
    tree = untraced.visit(ast.parse(source, name))
    return ast.fix_missing_locations(tree), untraced.removed


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        tree, _ = stripped(self.get_data(self.path).decode(), self.path)
        return compile(tree, self.path, "exec")


class Finder(MetaPathFinder):
    """Finds the relay's modules, and loads them without their tracing."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """See `MetaPathFinder`."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname.partition(".")[0] == ROOM else None
        if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            spec.loader = _Loader(spec.name, spec.origin)
        return spec


if __name__ == "__main__":
    sys.meta_path.insert(0, Finder())
    from relay_server.cli import main

    main()
