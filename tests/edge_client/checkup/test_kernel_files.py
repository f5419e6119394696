"""Parsing the kernel's files, from copies of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.checkup.kernel_files import (
    Throttling,
    board_of,
    holder_of,
    temperature_of,
    throttling_in,
    throttling_of,
    ways_out,
)

ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
wlan0\t0001A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0
"""
ROUTES_V6 = (
    f"{'0' * 32} 00 {'0' * 32} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n"
    f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo\n"
)
LOW_VOLTAGE = "the supply voltage is too low"


def put(root: Path, path: str, text: str) -> None:
    """A file of the kernel."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")


def test_a_card_that_plays_names_its_process(tmp_path: Path) -> None:
    """The kernel names the thread; a person knows the process."""
    put(tmp_path, "proc/asound/card1/pcm0p/sub0/status", "state: RUNNING\nowner_pid   : 812\ntrigger_time: 1.0\n")
    put(tmp_path, "proc/812/status", "Name:\tdata-loop.0\nTgid:\t790\n")
    put(tmp_path, "proc/790/comm", "pipewire\n")
    assert str(holder_of(tmp_path, 1, 0)) == "pipewire (process 812)"


@pytest.mark.parametrize("status", ["closed\n", ""])
def test_a_free_card_has_no_holder(status: str, tmp_path: Path) -> None:
    """A card has no holder if its device is closed, or has no file."""
    if status:
        put(tmp_path, "proc/asound/card1/pcm0p/sub0/status", status)
    assert holder_of(tmp_path, 1, 0) is None


def test_throttling_is_read_from_the_firmware(tmp_path: Path) -> None:
    """Bits 0 to 3 are current, 16 to 19 have occurred since boot."""
    put(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", "50001\n")
    assert throttling_in(tmp_path) == Throttling((LOW_VOLTAGE,), (LOW_VOLTAGE, "it is throttled"))


def test_voltage_alone_is_known_to_newer_kernels(tmp_path: Path) -> None:
    """Newer kernels report the voltage alone, by the driver `rpi_volt`."""
    put(tmp_path, "sys/class/hwmon/hwmon2/in0_lcrit_alarm", "1\n")
    assert throttling_in(tmp_path) == Throttling((LOW_VOLTAGE,))


def test_other_boards_tell_nothing(tmp_path: Path) -> None:
    """Other boards report None, not "not throttled"."""
    assert throttling_in(tmp_path) is None
    assert temperature_of(tmp_path) is None
    assert board_of(tmp_path) == ""


@given(st.text())
def test_any_answer_of_the_firmware_is_taken_or_is_none(text: str) -> None:
    """`vcgencmd` may print anything."""
    found = throttling_of(text)
    assert found is None or len(found.now) <= 4


def test_vcgencmd_says_the_same() -> None:
    """`vcgencmd` prints the name before the value."""
    assert throttling_of("throttled=0x0\n") == Throttling()
    assert throttling_of('error=1 error_msg="Command not registered"') is None


def test_default_routes_of_both_families(tmp_path: Path) -> None:
    """Not the kernel's own entry for `lo`."""
    put(tmp_path, "proc/net/route", ROUTES)
    put(tmp_path, "proc/net/ipv6_route", ROUTES_V6)
    assert ways_out(tmp_path) == ["wlan0", "eth0"]


def test_board_and_temperature(tmp_path: Path) -> None:
    """Texts in a device tree end with NUL."""
    put(tmp_path, "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "48312\n")
    assert board_of(tmp_path) == "Raspberry Pi 5 Model B Rev 1.0"
    assert temperature_of(tmp_path) == 48.312
