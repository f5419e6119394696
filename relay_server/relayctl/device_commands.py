"""`relayctl pair`, `settings`, `restart`, `identify`, `update`: management of devices, independent of what they play."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

from avatar_relay.desk_settings import DESK_SETTINGS
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.pairing import is_code
from avatar_relay.v1 import admin_service_pb2 as pb
from avatar_relay.v1 import media_pb2

TIMEOUT_S = 10.0
STORED_WITHIN_S, LOOK_S = 6.0, 0.2
"""A device stores a change after two seconds."""
PAIR_TIMEOUT_S = 60.0
"""The device answers three times, within 10 s each, and may compute slowly."""


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands; `command` adds one to the command line."""
    text = "Pair a waiting device by the code on its screen or in its log."
    pair = command("pair", _pair, text, device="")
    pair.add_argument("shown", type=_shown, metavar="NAME-CODE", help="as shown by the device; the code changes each minute")
    pair.add_argument("--as", dest="device_id", default="", metavar="DEVICE", help="its name from now on (default: NAME)")
    pair.add_argument("--replace", action="store_true", help="the device is already known: replace its token")

    settings = command("settings", _settings, "Show or change settings stored by a device; they take effect at its next start.")
    settings.add_argument(
        "changes", nargs="*", type=_change, metavar="NAME=VALUE", help=f"an empty VALUE resets it; {', '.join(DESK_SETTINGS)}"
    )
    command("restart", _restart, "Restart a device's program.")
    command("identify", _identify, "Show a device's name on its screen for ten seconds.")
    command("update", _update, "Install the newest release of the index in a device's settings on its machine.")


def _pair(relay: Any, options: argparse.Namespace) -> Iterator[tuple[pb.PairDeviceResponse, list[str]]]:
    name, code = options.shown
    request = pb.PairDeviceRequest(name=name, code=code, device_id=options.device_id, replace=options.replace)
    answer = relay.PairDevice(request, timeout=PAIR_TIMEOUT_S)
    yield answer, [f"paired: device {answer.device_id}"]


def _settings(relay: Any, options: argparse.Namespace) -> Iterator[tuple[Any, list[str]]]:
    ask = pb.GetDeviceRequest(device_id=options.device)
    if options.changes:
        changes = [media_pb2.DeviceSetting(name=name, value=value) for name, value in options.changes]
        relay.SetSettings(pb.SetSettingsRequest(device_id=options.device, changes=changes), timeout=TIMEOUT_S)
    device = relay.GetDevice(ask, timeout=TIMEOUT_S).device
    end_s = time.monotonic() + STORED_WITHIN_S
    while options.changes and device.attached and device.settings_pending and time.monotonic() < end_s:
        time.sleep(LOOK_S)
        device = relay.GetDevice(ask, timeout=TIMEOUT_S).device
    yield device.settings, list(_told(device, changed=bool(options.changes)))


def _told(device: pb.Device, *, changed: bool) -> Iterator[str]:
    if not device.HasField("settings"):
        yield "this device does not support settings"
        return
    yield from (f"{one.name} = {one.value}" for one in device.settings.settings)
    if not device.settings.settings:
        yield "no settings are set"
    yield from (f"refused: {one.name}: {one.reason}" for one in device.settings.refused)
    if device.settings_pending:
        yield "not confirmed by the device yet"
    elif changed and not device.settings.refused:
        yield f"stored; takes effect at the next start: relayctl restart {device.device_id}"


def _restart(relay: Any, options: argparse.Namespace) -> Iterator[tuple[Any, list[str]]]:
    yield relay.RestartDevice(pb.RestartDeviceRequest(device_id=options.device), timeout=TIMEOUT_S), [f"restarting: {options.device}"]


def _identify(relay: Any, options: argparse.Namespace) -> Iterator[tuple[Any, list[str]]]:
    yield relay.IdentifyDevice(pb.IdentifyDeviceRequest(device_id=options.device), timeout=TIMEOUT_S), [f"showing itself: {options.device}"]


def _change(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not NAME=VALUE")
    return name, value


def _shown(text: str) -> tuple[str, str]:
    name, _, code = text.rpartition("-")
    if not is_valid_id(name) or not is_code(code):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not NAME-CODE: a name ({ID_RULE}), a hyphen and six digits")
    return name, code


def _update(relay: Any, options: argparse.Namespace) -> Iterator[tuple[Any, list[str]]]:
    text = f"asked for: {options.device}; on the device, journalctl -u edge-client-update shows the result"
    yield relay.UpdateDevice(pb.UpdateDeviceRequest(device_id=options.device), timeout=TIMEOUT_S), [text]
