"""Command-line and JSON helpers for the tools."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.lab.data import PROJECT_ROOT

BUILD = PROJECT_ROOT / "build"


def command_line(name: str, description: str | None) -> argparse.ArgumentParser:
    """Create a parser for `scripts/NAME`; the description keeps its line breaks."""
    return argparse.ArgumentParser(
        prog=f"scripts/{name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def add_out_folder(parser: argparse.ArgumentParser, name: str) -> None:
    """Add `--out`: the output folder of a tool; by default the project's `build/NAME`."""
    parser.add_argument("--out", type=Path, default=BUILD / name, metavar="DIR", help=f"default build/{name}")


def add_json_file(parser: argparse.ArgumentParser) -> None:
    """Add `--json`: a file for the figures, which are also printed."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")


def write_json(figures: Mapping[str, Any], file: Path | None) -> None:
    """Print the figures, and write them to `file` unless it is None."""
    text = json.dumps(figures, indent=2) + "\n"
    print(text, end="", flush=True)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
