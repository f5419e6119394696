"""Which output a setting selects, and which part of the setting reaches ALSA's configuration."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.audio.outputs import Card, Conversion, alsa_configuration, candidates, choose, outputs
from edge_client.choices import check_output_name
from edge_client.errors import SinkError

USB = "/sys/devices/platform/usb1/1-1/1-1.{0}/1-1.{0}:1.0"
CARDS = [
    Card(0, "vc4hdmi0", "vc4-hdmi-0"),
    Card(1, "Device", "USB Audio Device", path=USB.format(2)),
    Card(2, "Device_1", "USB Audio Device", 1, USB.format(3)),
]
DEVICES = outputs(CARDS, [("default", "Default ALSA Output"), ("kitchen", ""), ("Küche", ""), ("hw:CARD=Device,DEV=0", "again")])


def test_list() -> None:
    """The default first, then the cards, then other named outputs; no duplicates."""
    assert [str(device) for device in DEVICES] == [
        "[0] default (Default ALSA Output)",
        "[1] hw:CARD=vc4hdmi0,DEV=0 (vc4-hdmi-0)",
        "[2] hw:CARD=Device,DEV=0 (USB Audio Device, path:1-1.2:1.0)",
        "[3] hw:CARD=Device_1,DEV=1 (USB Audio Device, path:1-1.3:1.0)",
        "[4] kitchen",
        "[5] Küche",
    ]


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("", "default"),
        ("4", "kitchen"),
        ("KIT", "kitchen"),
        ("Küche", "Küche"),
        ("Device", "hw:CARD=Device,DEV=0"),
        ("Device_1", "hw:CARD=Device_1,DEV=1"),
        ("vc4-hdmi", "hw:CARD=vc4hdmi0,DEV=0"),
        ("path:1-1.3:1.0", "hw:CARD=Device_1,DEV=1"),
        ("path:usb1/1-1/1-1.2/1-1.2:1.0", "hw:CARD=Device,DEV=0"),
        ("plughw:CARD=Nobody,DEV=3", "plughw:CARD=Nobody,DEV=3"),
        ("hw:1,0", "hw:1,0"),
        ("USB Audio Device: - (hw:2,0)", "hw:2,0"),
    ],
)
def test_choose(wanted: str, name: str) -> None:
    """An output is chosen by nothing, number, name, beginning, card id, location, ALSA's name, or PortAudio's name as in older versions."""
    assert choose(wanted, DEVICES).name == name


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ("usb", r"several outputs: \[2\] hw:CARD=Device,DEV=0.*\[3\]"),
        ("9", r"is not an output: \[0\] default"),
        ("speakers", "is not an output"),
        ("path:1.2:1.0", "is not an output"),
    ],
)
def test_choose_what_is_not_there(wanted: str, complaint: str) -> None:
    """The error lists the outputs that exist."""
    with pytest.raises(SinkError, match=complaint):
        choose(wanted, DEVICES)


def test_ways_to_open() -> None:
    """By default, the default and then each card; a card exclusively, then shared. Stored values belong to its location."""
    assert [way.pcm for way in candidates("", DEVICES)][:3] == ["default", "hw:CARD=vc4hdmi0,DEV=0", "sysdefault:CARD=vc4hdmi0"]
    assert [(way.pcm, way.key) for way in candidates("Device", DEVICES)] == [
        ("hw:CARD=Device,DEV=0", USB.format(2)),
        ("sysdefault:CARD=Device", USB.format(2)),
    ]
    assert [way.pcm for way in candidates("kitchen", DEVICES)] == ["kitchen"]


INJECTIONS = [
    'x" } pcm.!default { type null } #',
    "a\nb",
    "{ type null }",
    "file:'|touch /tmp/x'",
    "plug:SLAVE='hw'",
    "a/b",
    "a\\b",
    "$(x)",
    " ",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_configuration_in_a_name(text: str) -> None:
    """A setting cannot inject configuration, files or commands into ALSA's configuration."""
    with pytest.raises(ValueError, match="cannot name an output"):
        check_output_name(text)


@given(st.text(max_size=40))
def test_what_passes_stays_within_its_quotes(text: str) -> None:
    """Any name is either refused, or in the configuration as one quoted word."""
    try:
        check_output_name(text)
    except ValueError:
        return
    for conversion in Conversion:
        configuration = alsa_configuration(text.removeprefix("path:"), conversion)
        assert re.sub(r'"[^"\n\\{}|/\']*"', "", configuration).count('"') == 0


def test_a_name_has_a_length() -> None:
    """A name that is too long is refused."""
    with pytest.raises(ValueError, match="at most 255 characters"):
        check_output_name("x" * 256)
