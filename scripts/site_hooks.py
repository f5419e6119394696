"""Hooks of mkdocs: the site is docs/, with README.md as its first page and CHANGELOG.md; the pages stay plain Markdown."""

from __future__ import annotations

import re
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.structure.files import File

FROM_THE_ROOT = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}
"""Files beside docs/, and the page of the site that each becomes."""
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/."""
    for name, page in FROM_THE_ROOT.items():
        files.append(File.generated(config, page, abs_src_path=join(dirname(config["config_file_path"]), name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Adapt links to the site; a link to a file outside the site is replaced by its text."""
    source = next((name for name, target in FROM_THE_ROOT.items() if target == page.file.src_uri), join("docs", page.file.src_uri))

    def fitted(link: re.Match[str]) -> str:
        mark, text, target, anchor = link.groups(default="")
        if "://" in target:
            return link.group()
        place = normpath(join(dirname(source), target))
        inside = FROM_THE_ROOT.get(place) or (place.removeprefix("docs/") if place.startswith("docs/") else None)
        if inside is None:
            return text
        return f"{mark}[{text}]({relpath(inside, dirname(page.file.src_uri) or '.')}{anchor})"

    return _LINK.sub(fitted, markdown)
