"""Starts attacks, each in its own process."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from tests.lab.programs import START_S, python


async def attacked(name: str, address: str, seconds: float, tokens: dict[str, str]) -> dict[str, Any]:
    """Run the attacker; returns its report."""
    command = [*python("tests.lab.attack.attacker"), name, address, str(seconds)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **tokens}
    )
    try:
        async with asyncio.timeout(seconds + START_S):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
    lines = out.decode().splitlines()
    last = err.decode(errors="replace").splitlines()[-1:]
    if not lines:
        return {"done": f"the attacker did not end well {last}", "ran": False, "saw_another_tenant": False}
    return {**json.loads(lines[-1]), "ran": True}
