"""`edge-client doctor`: what a device has and lacks for its settings, and what to do. It plays nothing and disturbs nothing that runs.

Run it as the user of the service; otherwise groups and files are those of another user: `sudo -u avatar edge-client doctor`.
"""

from __future__ import annotations

import grp
import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from avatar_relay.addresses import is_loopback, split_address
from avatar_relay.certificate_dates import clock_fault
from avatar_relay.errors import ConfigError
from edge_client.audio.outputs import OutputDevice, choose
from edge_client.checkup import kernel_files
from edge_client.checkup.findings import Finding, Health, finding
from edge_client.checkup.trials import run_trial
from edge_client.config import AUTO, LOCAL_RELAY, EdgeConfig
from edge_client.errors import EdgeError, SinkError
from edge_client.local_clock import clock_is_synchronised

ROOT = Path("/")
_GROUPS = ("audio", "video", "render", "input")
_HOT_C = 80.0
_SEARCH_S = 6.0
"""How long to look for a relay that announces itself."""


def examine(config: EdgeConfig, root: Path = ROOT) -> Iterator[Finding]:
    """Yield each finding as soon as it is known; takes up to half a minute. `root` holds the kernel's files."""
    checks: tuple[tuple[str, Callable[[], list[Finding]]], ...] = (
        ("card", lambda: check_card(config, root)),
        ("screen", lambda: check_screen(config)),
        ("groups", check_groups),
        ("clock", lambda: [check_clock(clock_is_synchronised(), int(time.time()), tls=config.tls)]),
        ("network", lambda: [check_network(config, root)]),
        ("relay", lambda: check_link(config)),
        ("throttling", lambda: [check_throttling(throttling(root), kernel_files.temperature_of(root))]),
        ("lip-sync", check_lip_sync),
    )
    for part, check in checks:
        try:
            yield from check()
        except Exception as error:  # a check that fails is a finding, and the others continue
            yield finding(part, Health.WARNING, f"cannot be examined: {type(error).__name__}: {error}", "report this line")


def check_card(config: EdgeConfig, root: Path, listed: list[OutputDevice] | None = None) -> list[Finding]:
    """Check the configured output, and which program plays on it. `listed` replaces the list from ALSA in tests."""
    from edge_client.audio.devices import list_outputs

    if config.audio_sink in ("virtual", "wav") or (config.headless and not config.audio_device):
        return [finding("card", Health.OK, "the settings ask for no sound device")]
    try:
        outputs = list_outputs() if listed is None else listed
        wanted = choose(config.audio_device, outputs)
    except SinkError as error:
        return [finding("card", Health.FAILED, str(error), "attach the card, or correct audio_device: edge-client devices lists them")]
    cards = [output.card for output in outputs if output.card]
    card = wanted.card or (cards[0] if cards and not config.audio_device else None)
    if not cards:
        advice = "attach a card; a Raspberry Pi needs dtparam=audio=on, or the overlay of its sound board, in /boot/firmware/config.txt"
        return [finding("card", Health.FAILED, "there is no card that plays", advice)]
    if card is None:
        return [finding("card", Health.OK, f"{wanted} is there; ALSA's configuration says which card it is")]
    holder = kernel_files.holder_of(root, card.number, card.device)
    if holder is None:
        return [finding("card", Health.OK, f"{card.name} ({card.id}) is there and free")]
    if "python" in holder.name or "edge-client" in holder.name:
        return [finding("card", Health.OK, f"{card.name} ({card.id}) is held by {holder}, the edge client as it seems")]
    advice = f'end {holder.name}, or share the card through it: audio_device = "pulse" or "pipewire"'
    return [finding("card", Health.WARNING, f"{card.name} ({card.id}) is held by {holder}", advice)]


def check_screen(config: EdgeConfig) -> list[Finding]:
    """Find the best available place for the face, and its GL driver."""
    from edge_client.face.gl.probe import Probe
    from edge_client.face.screens import places_here

    if config.renderer == "none":
        return [finding("screen", Health.OK, "the settings ask for no face")]
    ways = [
        way for way in places_here("gles", headless=config.headless, environment=os.environ) if way.display is None or way.display.answers()
    ]
    way = ways[0]
    if way.where == "off-screen":
        wanted = Health.OK if config.headless else Health.FAILED
        text = "no display answers, and no screen is attached to a card"
        advice = "" if config.headless else "attach the screen before the machine starts; on a desktop log in, or run as the desktop's user"
        screen = finding("screen", wanted, text, advice)
    elif way.where == "console" and not os.access(f"/dev/dri/card{way.card}", os.R_OK | os.W_OK):
        advice = "add the user to the groups video and render: sudo usermod --append --groups video,render,input avatar"
        screen = finding("screen", Health.FAILED, f"/dev/dri/card{way.card} has a screen and is not open to this user", advice)
    else:
        at = way.display.name if way.display is not None else f"card {way.card}"
        screen = finding("screen", Health.OK, f"{way.where}, {at}")
    try:
        driver = Probe("offscreen" if way.where == "console" else way.driver, way.variables).driver()
    except EdgeError as error:
        gl = finding("gl", Health.WARNING, f"{error}; the vector face is drawn", "apt install libegl1 libgles2 libgl1-mesa-dri libgbm1")
        return [screen, gl]
    advice = "apt install libgl1-mesa-dri" if driver.is_slow else ""
    return [screen, finding("gl", Health.WARNING if driver.is_slow else Health.OK, f"{driver.version} by {driver.device}", advice)]


def check_groups() -> list[Finding]:
    """Find groups that this user lacks; root needs none."""
    mine = set(os.getgroups()) | {os.getegid()}
    known = {group.gr_name: group.gr_gid for group in grp.getgrall()}
    lacking = [name for name in _GROUPS if name in known and known[name] not in mine]
    if os.geteuid() == 0 or not lacking:
        return [finding("groups", Health.OK, "this user may open sound, screen and input")]
    advice = f"sudo usermod --append --groups {','.join(lacking)} USER, and log in again; or run this as the service's user"
    return [finding("groups", Health.WARNING, f"this user is not in {', '.join(lacking)}", advice)]


def check_clock(synchronised: bool | None, now_s: int, *, tls: bool) -> Finding:
    """Check the clock. Lip-sync does not need the wall clock; certificates do, and so does comparing two logs."""
    if fault := clock_fault(now_s):
        return finding("clock", Health.FAILED if tls else Health.WARNING, fault, "sudo timedatectl set-ntp true")
    if synchronised is None:
        return finding("clock", Health.WARNING, "the kernel does not tell whether it is synchronised", "timedatectl")
    if not synchronised:
        advice = "sudo timedatectl set-ntp true, and let UDP port 123 out"
        return finding(
            "clock", Health.WARNING, "it is set and not synchronised: sound and face do not mind, logs and certificates do", advice
        )
    return finding("clock", Health.OK, "synchronised")


def check_network(config: EdgeConfig, root: Path) -> Finding:
    """Check for a default route."""
    ways = kernel_files.ways_out(root)
    if ways:
        return finding("network", Health.OK, f"default route by {', '.join(ways)}")
    if config.relay != AUTO and all(is_loopback(split_address(relay, "relay")[0]) for relay in config.relay):
        return finding("network", Health.OK, "there is no default route, and the relay is on this machine")
    return finding("network", Health.WARNING, "there is no default route", "attach the cable, or set up the wireless network: sudo nmtui")


def check_link(config: EdgeConfig) -> list[Finding]:
    """Check relay, token, and the token's file. If neither the settings nor a pairing name a relay, it is searched for."""
    from edge_client.checkup.relay_checks import check_relay  # importing gRPC takes time
    from edge_client.inputs import endpoint_of, find_relay
    from edge_client.link.relay_choice import paired_of
    from edge_client.state import state_folder

    try:
        endpoint = endpoint_of(config)
    except ConfigError as error:
        return [finding("token", Health.FAILED, str(error), "correct the file or the setting; docs/security.md")]
    if config.relay == AUTO and paired_of(config, state_folder(os.environ, Path.home)) is None:
        found_relay = find_relay(config, _SEARCH_S)
        if found_relay is None:
            text = f"none listens at {LOCAL_RELAY}, and none announces itself in this network within {_SEARCH_S:g} s"
            return [finding("relay", Health.FAILED, text, "start one with announce = on, or name it in the setting relay; docs/pairing.md")]
        if found_relay.pairing and config.pairing and not config.has_credentials:
            advice = "start edge-client: it shows NAME-CODE, with which an operator lets it in: relayctl pair NAME-CODE"
            relay = finding("relay", Health.OK, f"{found_relay.name} announces itself at {found_relay.address}, and pairs devices")
            return [relay, finding("token", Health.WARNING, "this device is not paired yet", advice)]
        endpoint = replace(endpoint, address=found_relay.address, tls=found_relay.tls)
    found = [one for relay in (endpoint.address, *endpoint.others) for one in check_relay(replace(endpoint, address=relay))]
    if config.token_file is not None and (mode := stat.S_IMODE(config.token_file.stat().st_mode)) & 0o077:
        text = f"{config.token_file} may be read by others (mode {mode:o})"
        found.append(finding("token file", Health.WARNING, text, f"sudo chmod 600 {config.token_file}, owner: the service's user"))
    return found


def throttling(root: Path) -> kernel_files.Throttling | None:
    """Read throttling from the kernel's files, else from the firmware's command; None if neither is available."""
    if (found := kernel_files.throttling_in(root)) is not None:
        return found
    try:
        done = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return kernel_files.throttling_of(done.stdout) if done.returncode == 0 else None


def check_throttling(found: kernel_files.Throttling | None, temperature_c: float | None) -> Finding:
    """Report what slows the board down."""
    warm = "" if temperature_c is None else f", {temperature_c:.0f} °C"
    hot = temperature_c is not None and temperature_c >= _HOT_C
    if found is None:
        health = Health.WARNING if hot else Health.OK
        return finding("throttling", health, f"this board does not tell{warm}", "cool it" if hot else "")
    if found.now:
        advice = "use the supply that belongs to the board, with a short cable; cool it if it is hot"
        return finding("throttling", Health.FAILED, f"now: {'; '.join(found.now)}{warm}", advice)
    if found.since_boot:
        advice = "use the supply that belongs to the board; look again under load"
        return finding("throttling", Health.WARNING, f"since boot: {'; '.join(found.since_boot)}{warm}", advice)
    return finding("throttling", Health.WARNING if hot else Health.OK, f"none since boot{warm}", "cool it" if hot else "")


def check_lip_sync() -> list[Finding]:
    """Play a conversation into a virtual sink, with the face off-screen."""
    works, text = run_trial("lip-sync")
    advice = "" if works else 'end what else needs the processor, look at throttling, or set renderer = "flat"'
    return [finding("lip-sync", Health.OK if works else Health.FAILED, text, advice)]
