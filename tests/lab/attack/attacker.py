"""Runs one attack in its own process at the lowest priority: `python -m tests.lab.attack.attacker NAME HOST:PORT SECONDS`."""

from __future__ import annotations

import json
import os
import sys

from tests.lab.attack.insiders import INSIDERS, OTHER
from tests.lab.attack.strangers import STRANGERS, seen
from tests.lab.attack.tls import TLS_ATTACKS

RELAY_ATTACKS = STRANGERS | TLS_ATTACKS | INSIDERS


def main() -> None:
    """Attack; prints what was done, and whether data of the other tenant was seen."""
    os.nice(19)
    name, address, seconds = sys.argv[1:]
    done = RELAY_ATTACKS[name](address, float(seconds))
    others = name in INSIDERS and OTHER.encode() in bytes(seen).replace(f"{OTHER!r}".encode(), b"")
    print(json.dumps({"done": done, "saw_another_tenant": others}), flush=True)


if __name__ == "__main__":
    main()
