"""The size of the project: lines of code without docstrings, comments and blank lines, and the length of modules."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

from tests.lab.data import PROJECT_ROOT

PRODUCT, TOOLS = ("proto", "relay_server", "edge_client"), ("scripts", "tests/lab")
BOUNDS = [(PRODUCT, 39_761), (TOOLS, 13_850)]
"""Current bounds: a change that needs more must change them here."""
MAX_MODULE_LINES = 400
NOT_CODE = frozenset(
    {
        *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
        *(tokenize.ENCODING, tokenize.ENDMARKER),
    }
)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def modules(folders: tuple[str, ...]) -> list[Path]:
    """All Python modules of these folders, without generated ones."""
    return [path for folder in folders for path in sorted((PROJECT_ROOT / folder).rglob("*.py")) if "_pb2" not in path.name]


def lines_of_code(source: str) -> int:
    """Count the lines that contain code. A standalone string, such as the description of a field, is documentation."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED):
            for statement in node.body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str):
                    lines -= set(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
    return len(lines)


@pytest.mark.parametrize(("folders", "most"), BOUNDS)
def test_lines_of_code(folders: tuple[str, ...], most: int) -> None:
    """Product, and tools with the code they share with tests, each below its bound."""
    assert sum(lines_of_code(path.read_text(encoding="utf-8")) for path in modules(folders)) <= most


def test_no_module_is_too_long() -> None:
    """A module has one purpose."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules((*PRODUCT, *TOOLS))}
    assert {str(path): lines for path, lines in lengths.items() if lines > MAX_MODULE_LINES} == {}


def test_documentation_does_not_count() -> None:
    """Tests the count itself."""
    assert (
        lines_of_code(
            '"""A module."""\n\n# why\nX = 1\n"""Its\nmeaning."""\n\ndef f() -> str:\n    """Its doc."""\n    return """a\n\nb"""\n'
        )
        == 5
    )
