"""docs/grpcurl.md, run with a real grpcurl against a real relay and a real edge client; the last line ends the relay."""

from __future__ import annotations

import re
from pathlib import Path

from tests.doc_blocks import read_blocks
from tests.lab.data import PROJECT_ROOT
from tests.page_session import read_page

PAGE = "docs/grpcurl.md"


def test_the_page_covers_every_rpc() -> None:
    """The page has a line for every RPC of every service."""
    text = "\n".join(block.text for block in read_blocks(PAGE) if block.language == "sh")
    services = (PROJECT_ROOT / "proto" / "avatar_relay" / "v1").glob("*_service.proto")
    rpcs = [
        f"avatar_relay.v1.{service[1]}/{rpc}"
        for text in (path.read_text(encoding="utf-8") for path in services)
        for service in re.finditer(r"^service (\w+)", text, re.MULTILINE)
        for rpc in re.findall(r"^  rpc (\w+)", text, re.MULTILINE)
    ]
    assert len(rpcs) == 18
    assert [rpc for rpc in rpcs if rpc not in text] == []


def test_every_line_does_what_the_page_says(tmp_path: Path) -> None:
    """In order, with the output shown; the drained relay ends by itself, successfully."""
    with read_page(PAGE, tmp_path, in_clone=True) as reader:
        relay, _ = reader.programs
        assert relay.wait() == 0
