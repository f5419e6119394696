"""Cards as listed by the kernel's files."""

from __future__ import annotations

from pathlib import Path

from edge_client.audio.cards import CardFiles
from edge_client.audio.outputs import Card

CARDS = """\
 0 [vc4hdmi0       ]: vc4-hdmi - vc4-hdmi-0
                      vc4-hdmi-0
 1 [Device         ]: USB-Audio - USB Audio Device
                      GeneralPlus USB Audio Device at usb-0000:01:00.0-1.2, full speed
 2 [Webcam         ]: USB-Audio - A - B [x]
                      only a microphone
"""
PCM = """\
00-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1
01-01: USB Audio : USB Audio #1 : playback 1 : capture 1
01-02: USB Audio : USB Audio #2 : playback 1
02-00: USB Audio : USB Audio : capture 1
"""


def make_files(folder: Path, cards: str = CARDS, pcm: str = PCM) -> CardFiles:
    """The kernel's files of these cards."""
    proc, sysfs, place = folder / "proc", folder / "sys", folder / "devices/usb1/1-1/1-1:1.0"
    for made in (proc, sysfs / "card1", place):
        made.mkdir(parents=True, exist_ok=True)
    (proc / "cards").write_text(cards)
    (proc / "pcm").write_text(pcm)
    if not (sysfs / "card1/device").exists():
        (sysfs / "card1/device").symlink_to(place)
    return CardFiles(proc, sysfs)


def test_cards_that_play(tmp_path: Path) -> None:
    """With name, first playback device, and location; cards that only record are left out."""
    place = str(tmp_path / "devices/usb1/1-1/1-1:1.0")
    assert make_files(tmp_path).cards() == [
        Card(0, "vc4hdmi0", "vc4-hdmi-0"),
        Card(1, "Device", "USB Audio Device", 1, place),
    ]


def test_a_card_whose_device_list_is_empty(tmp_path: Path) -> None:
    """It cannot play, and does not hide the others."""
    assert make_files(tmp_path, pcm="").cards() == []


def test_a_machine_without_sound(tmp_path: Path) -> None:
    """Without the kernel's files there are no cards."""
    assert CardFiles(tmp_path / "none", tmp_path / "none").cards() == []


def test_fingerprint(tmp_path: Path) -> None:
    """The fingerprint changes with the attached cards."""
    before = make_files(tmp_path).fingerprint()
    assert make_files(tmp_path).fingerprint() == before
    assert make_files(tmp_path, pcm=PCM.replace("02-00", "03-00")).fingerprint() != before
