"""Command lines of the tools, and their figures as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.lab.data import PROJECT_ROOT

BUILD = PROJECT_ROOT / "build"


def command_line(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser for `scripts/NAME`; the description keeps its line breaks."""
    return argparse.ArgumentParser(
        prog=f"scripts/{name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def add_out_folder(parser: argparse.ArgumentParser, name: str) -> None:
    """`--out`: where a tool leaves its files; by default `build/NAME` of the project."""
    parser.add_argument("--out", type=Path, default=BUILD / name, metavar="DIR", help=f"default build/{name}")


def add_json_file(parser: argparse.ArgumentParser) -> None:
    """`--json`: a file for the figures, which are printed as well."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")


def write_json(figures: Mapping[str, Any], file: Path | None) -> None:
    """Print the figures, and write them to a file if there is one."""
    text = json.dumps(figures, indent=2) + "\n"
    print(text, end="", flush=True)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
