"""Information in the kernel's files: which process uses a card, the default route, and throttling.

`root` stands for `/`. A file that is missing or cannot be read counts as empty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

THROTTLED_FILES = ("sys/devices/platform/soc/soc:firmware/get_throttled", "sys/class/hwmon/hwmon*/in0_lcrit_alarm")
"""Files of a Raspberry Pi's firmware driver, and of its driver for the voltage alone (`rpi_volt`)."""
_THROTTLED_BITS = {
    0: "the supply voltage is too low",
    1: "the frequency is capped",
    2: "it is throttled",
    3: "the soft temperature limit holds",
}
_SINCE_BOOT = 16
"""Shift of the bits that report what has happened since boot."""
_DEFAULT_V4, _DEFAULT_V6 = "00000000", "0" * 32


@dataclass(frozen=True, slots=True)
class Throttling:
    """Current problems, and those since boot, in words."""

    now: tuple[str, ...] = ()
    since_boot: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a device of a card open."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name or 'a process'} (process {self.pid})"


def read_text(root: Path, path: str) -> str:
    """Read a small file's text, without surrounding white space; a NUL ends it."""
    try:
        return (root / path).read_text(encoding="utf-8", errors="replace").partition("\0")[0].strip()
    except OSError:
        return ""


def throttling_of(flags: str) -> Throttling | None:
    """Parse the firmware's hexadecimal number, with or without `throttled=`; None if it is invalid."""
    found = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", flags.strip())
    if found is None:
        return None
    bits = int(found[1], 16)
    now = tuple(text for bit, text in _THROTTLED_BITS.items() if bits >> bit & 1)
    since = tuple(text for bit, text in _THROTTLED_BITS.items() if bits >> (bit + _SINCE_BOOT) & 1)
    return Throttling(now, since)


def throttling_in(root: Path) -> Throttling | None:
    """Read throttling from the kernel's files; None if the board does not report it."""
    if (found := throttling_of(read_text(root, THROTTLED_FILES[0]))) is not None:
        return found
    alarms = [read_text(root, str(path.relative_to(root))) for path in sorted(root.glob(THROTTLED_FILES[1]))]
    if not alarms:
        return None
    return Throttling((_THROTTLED_BITS[0],) if "1" in alarms else ())


def temperature_of(root: Path) -> float | None:
    """Temperature of the first thermal zone, in °C."""
    text = read_text(root, "sys/class/thermal/thermal_zone0/temp")
    return int(text) / 1_000 if re.fullmatch(r"-?\d{1,7}", text) else None


def holder_of(root: Path, card: int, device: int) -> Holder | None:
    """Return the process that plays on a device of a card; None if none does."""
    for status in sorted(root.glob(f"proc/asound/card{card}/pcm{device}p/sub*/status")):
        if owner := re.search(r"^owner_pid\s*:\s*(\d+)", read_text(root, str(status.relative_to(root))), re.MULTILINE):
            return Holder(int(owner[1]), _program_of(root, int(owner[1])))
    return None


def _program_of(root: Path, thread: int) -> str:
    """Name of a thread's process: the kernel names the thread that opened the device, but people know the process."""
    leader = re.search(r"^Tgid:\s*(\d+)", read_text(root, f"proc/{thread}/status"), re.MULTILINE)
    return read_text(root, f"proc/{leader[1] if leader else thread}/comm")


def ways_out(root: Path) -> list[str]:
    """List the interfaces of the default routes, of IPv4 and IPv6, each once."""
    found = []
    for line in read_text(root, "proc/net/route").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == _DEFAULT_V4 and fields[7] == _DEFAULT_V4:
            found.append(fields[0])
    for line in read_text(root, "proc/net/ipv6_route").splitlines():
        fields = line.split()
        if len(fields) == 10 and fields[0] == _DEFAULT_V6 and fields[1] == "00" and fields[9] != "lo":
            found.append(fields[9])
    return list(dict.fromkeys(found))


def board_of(root: Path) -> str:
    """Name of the machine in its firmware; empty if it has none."""
    return read_text(root, "proc/device-tree/model") or read_text(root, "sys/class/dmi/id/product_name")
