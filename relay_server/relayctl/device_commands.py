"""`relayctl pair`: what an operator does with devices as machines, whatever they play."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.pairing import is_code
from avatar_relay.v1 import admin_service_pb2 as pb

PAIR_TIMEOUT_S = 60.0
"""The device answers three times, within 10 s each, and may be slow at computing."""


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands; `command` adds one to the command line."""
    text = "Let a device in that waits for it, by what it shows on its screen and in its log."
    pair = command("pair", _pair, text, device="")
    pair.add_argument("shown", type=_shown, metavar="NAME-CODE", help="as the device shows it; the code changes each minute")
    pair.add_argument("--as", dest="device_id", default="", metavar="DEVICE", help="what it is to be called (default: NAME)")
    pair.add_argument("--replace", action="store_true", help="the device is let in already: what it showed until now ends")


def _pair(relay: Any, options: argparse.Namespace) -> Iterator[tuple[pb.PairDeviceResponse, list[str]]]:
    name, code = options.shown
    request = pb.PairDeviceRequest(name=name, code=code, device_id=options.device_id, replace=options.replace)
    answer = relay.PairDevice(request, timeout=PAIR_TIMEOUT_S)
    yield answer, [f"paired: device {answer.device_id}"]


def _shown(text: str) -> tuple[str, str]:
    name, _, code = text.rpartition("-")
    if not is_valid_id(name) or not is_code(code):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not NAME-CODE: a name ({ID_RULE}), a hyphen and six digits")
    return name, code
