"""Writes docs/settings.md, the reference of all settings, from their declarations."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from avatar_relay.settings import ProgramSettings, Section, Setting
from edge_client.config import DEFAULT_FILE
from edge_client.config import SETTINGS as EDGE_SETTINGS
from relay_server.cli import relay_settings
from relay_server.relayctl.connect import SETTINGS as OPERATOR_SETTINGS
from relay_server.sources.plugins import BUILT_IN, installed_plugins
from tests.lab.tool import command_line

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

HEAD = """# Settings

<!-- Written by scripts/settings_page; edit the declarations, not this page. -->

Each setting has one name and one unit, and can be given in three ways: as a flag, as an environment variable, and as a key of a TOML
file. A flag overrides the environment, which overrides the file. An empty value counts as unset. A name that does not exist is refused,
in the file as well as below the program's prefix in the environment. On and off are `true` and `false` (also `yes`, `no`, `on`, `off`,
`1`, `0`); as a flag, `--name` and `--no-name`. A table or a list is written in the environment and as a flag as it is in the file:
`--groups '{hall = ["left", "right"]}'`.
"""


def page() -> str:
    """The whole page."""
    plugins = installed_plugins()
    relay = relay_settings({name: plugins[name] for name in BUILT_IN})
    return "\n".join(
        [
            HEAD,
            f"## relay-server\n\nThe file is named by `--config` or `{relay.prefix}CONFIG`.\n",
            *(_section(relay, section) for section in relay.sections),
            f"## edge-client\n\nThe file is named by `--config` or `{EDGE_SETTINGS.prefix}CONFIG`; "
            f"without them it is `{DEFAULT_FILE}`, if that exists.\n",
            *(_section(EDGE_SETTINGS, section) for section in EDGE_SETTINGS.sections),
            "## relayctl\n\nIt reads no file.\n",
            *(_section(OPERATOR_SETTINGS, section) for section in OPERATOR_SETTINGS.sections),
        ]
    )


def _section(settings: ProgramSettings, section: Section) -> str:
    title = f"### `[{section.name}]`\n\n" if section.name else ""
    rows = [_row(settings, section, name, one) for name, one in section.settings.items()]
    keys = [f"`{settings.prefix}{name}`" for name in sorted(section.variables) if name != "CONFIG"]
    note = f"\nFrom the environment only: {', '.join(keys)}.\n" if keys else ""
    head = "| key | environment | takes | default | |\n|---|---|---|---|---|\n"
    return title + head + "".join(rows) + note


def _row(settings: ProgramSettings, section: Section, name: str, one: Setting) -> str:
    default = "must be given" if one.default is dataclasses.MISSING else "" if one.default is None else one.kind.show(one.default)
    cells = (f"`{name}`", f"`{settings.prefix}{section.variable(name)}`", one.kind.takes, default, one.text)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    command_line("settings_page", __doc__).parse_args()
    PAGE.write_text(page(), encoding="utf-8")
