"""API keys: their sources, and errors for invalid ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatar_relay.errors import ConfigError
from relay_server.sources.api_keys import MAX_KEY_BYTES, read_api_key


def test_environment_goes_before_the_file(tmp_path: Path) -> None:
    """The file's first line is used if the variable is unset; neither is not an error."""
    path = tmp_path / "key"
    path.write_text(" key-of-file \nanything else\n")
    assert read_api_key("sdk", "VARIABLE", path, {"VARIABLE": "key-of-environment\n"}) == "key-of-environment"
    assert read_api_key("sdk", "VARIABLE", path, {"VARIABLE": ""}) == "key-of-file"
    assert read_api_key("sdk", "VARIABLE", None, {}) == ""


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, r"sdk\.api_key_file: .*key cannot be read: No such file"),
        (b"\xff\xfesecret", r"sdk\.api_key_file: .* does not begin with a key"),
        (b"sec\0ret", "characters that no header can carry"),
    ],
)
def test_file_that_holds_no_key(tmp_path: Path, content: bytes | None, text: str) -> None:
    """The error does not quote it."""
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=text) as caught:
        read_api_key("sdk", "VARIABLE", path, {})
    assert "ret" not in str(caught.value).replace(str(path), "")


def test_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    """Holds for any file a user names."""
    path = tmp_path / "key"
    path.write_bytes(b"k" * 3 * MAX_KEY_BYTES)
    assert len(read_api_key("sdk", "VARIABLE", path, {})) == MAX_KEY_BYTES


@pytest.mark.parametrize("key", ["sch\u00f6n-secret", "bell\x07-secret"])
def test_key_of_the_environment_that_no_header_can_carry(key: str) -> None:
    """The error does not quote it."""
    with pytest.raises(ConfigError, match="sdk: the API key holds characters") as caught:
        read_api_key("sdk", "VARIABLE", None, {"VARIABLE": key})
    assert "secret" not in str(caught.value)
