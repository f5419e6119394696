"""What is written over the face, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_client.face.overlay import DARK, NOTHING, Overlay, Page
from edge_client.face.overlays import FIGURES_US, PAGE_AFTER_US, SOUNDLESS_US, STARTING_US, DeviceStatus, FaceOverlays
from edge_client.face.pictures import ShownPicture
from edge_client.playback.events import PlayerState, View

ATTACHED = DeviceStatus(attached=True, link="attached to relay:1", was_attached=True, version="1.2.3")
LOST = replace(ATTACHED, attached=False, relay="relay:1", link="UNAVAILABLE: failed to connect to all addresses; errno 111")
IDLE = View(PlayerState.IDLE)
PLAYING = View(PlayerState.PLAYING, "c-1", 0, None, 1.0, 0, buffered_us=1_500_000)
STALLED = replace(PLAYING, state=PlayerState.STALLED, buffered_us=0)
STEP_US = 40_000


class Device:
    """Overlays over a device with a settable state, and a clock that advances."""

    def __init__(self, status: DeviceStatus, *, figures: bool = False) -> None:
        self.status = status
        self.now_us = 5_000_000
        self.signs = FaceOverlays(lambda: self.status, figures=figures)

    def at(self, view: View = IDLE) -> Overlay:
        """The current overlay."""
        return self.signs.overlay(view, self.now_us)

    def after(self, us: int, view: View = IDLE) -> Overlay:
        """The overlay after this time, requested throughout."""
        until_us = self.now_us + us
        while self.now_us < until_us:
            self.at(view)
            self.now_us = min(until_us, self.now_us + STEP_US)
        return self.at(view)


def kind(overlay: Overlay) -> str:
    """In short: the page's title, or else the sign."""
    return overlay.page.title if overlay.page is not None else overlay.sign


def test_nothing_but_a_conversation_wakes_a_screen_that_sleeps() -> None:
    """Neither a page nor figures are shown meanwhile."""
    signs = FaceOverlays(lambda: LOST, figures=True, sleeps=lambda busy, now_us: not busy)
    assert signs.overlay(IDLE, 5_000_000) == DARK
    assert signs.overlay(replace(PLAYING, state=PlayerState.BUFFERING), 5_000_001).figures


def test_starting_then_the_reason_then_nothing() -> None:
    """Until the relay has accepted the device, the screen shows the cause of the wait."""
    device = Device(DeviceStatus())
    assert kind(device.at()) == "Starting"
    device.status = DeviceStatus(link="UNAUTHENTICATED: the token is not known")
    assert kind(device.after(STARTING_US - STEP_US)) == "Starting"
    overlay = device.after(2 * STEP_US)
    assert overlay.page is not None
    assert (overlay.page.title, overlay.page.text) == ("No connection", "UNAUTHENTICATED: the token is not known")
    device.status = ATTACHED
    assert device.at() == NOTHING


def test_a_link_that_is_cut_mid_word_is_a_sign_until_all_is_played() -> None:
    """The whole sequence: nothing, a sign while the buffer lasts, a page once it is played out, nothing when the link is back."""
    device = Device(ATTACHED)
    seen = [kind(device.at(PLAYING))]
    device.status = LOST
    for view, us in ((PLAYING, 4_000_000), (STALLED, STEP_US), (IDLE, 1_000_000)):
        seen.append(kind(device.after(us, view)))
    device.status = ATTACHED
    seen.append(kind(device.at(IDLE)))
    assert seen == ["", "no connection", "No connection", "No connection", ""]


def test_a_device_that_is_not_paired_shows_its_code() -> None:
    """From the first picture on, and only while it waits."""
    device = Device(DeviceStatus(pairing="lobby-314159"))
    assert device.at(IDLE).page == Page("lobby-314159", "Let this device in: relayctl pair lobby-314159", "lobby-314159")
    device.status = ATTACHED
    assert device.at(IDLE).page is None


def test_reasons_are_in_words_for_people() -> None:
    """The usual reason names the relay; others are shown as they are, with a bounded length."""
    device = Device(LOST)
    page = device.after(PAGE_AFTER_US).page
    assert page is not None
    assert page.text == "The relay at relay:1 does not answer. Trying again."
    device.status = replace(LOST, link="PERMISSION_DENIED: " + "x" * 1_000)
    page = device.at().page
    assert page is not None
    assert page.text.startswith("PERMISSION_DENIED") and len(page.text) < 200


def test_a_link_that_is_back_soon_is_no_news() -> None:
    """At rest only the sign in the corner shows an interruption shorter than `PAGE_AFTER_US`."""
    device = Device(ATTACHED)
    device.at()
    device.status = LOST
    assert kind(device.after(PAGE_AFTER_US - STEP_US)) == "no connection"
    device.status = ATTACHED
    assert device.at() == NOTHING
    device.status = LOST
    assert kind(device.after(PAGE_AFTER_US - STEP_US)) == "no connection"
    assert kind(device.after(2 * STEP_US)) == "No connection"


def test_no_sound_device_is_a_page_for_a_while_then_a_sign() -> None:
    """Its time counts outside speech only, so that latecomers can read it too; a speaking face is not covered."""
    device = Device(replace(ATTACHED, soundless="No sound device was found."))
    assert kind(device.at(PLAYING)) == "no sound"
    assert kind(device.after(10_000_000, PLAYING)) == "no sound"
    assert kind(device.after(SOUNDLESS_US - STEP_US)) == "No sound"
    assert kind(device.after(2 * STEP_US)) == "no sound"


def test_the_link_comes_before_the_sound() -> None:
    """One page at a time."""
    device = Device(replace(LOST, soundless="None."))
    assert kind(device.after(PAGE_AFTER_US)) == "No connection"


def test_figures_come_on_demand_and_stand_long_enough_to_be_read() -> None:
    """Skew now and p99, buffer, pictures per second, underruns, link, version; unchanged for `FIGURES_US`."""
    device = Device(replace(ATTACHED, underruns=3))
    assert device.at(PLAYING).figures == ()
    for index in range(101):
        shown_us = device.now_us + index * STEP_US
        heard_us = 1_000 * index
        view = replace(PLAYING, shown_pts_us=heard_us - (40_000 if index >= 99 else 2_000))
        device.signs.shown(ShownPicture(shown_us, shown_us, view, heard_us), None)
    device.signs.toggle_figures()
    figures = device.at(PLAYING).figures
    assert figures == (
        "skew +40.0 ms, p99 40.0 ms",
        "buffer 1.50 s",
        "25.0 pictures/s",
        "underruns 3",
        "link: attached to relay:1",
        "version 1.2.3",
    )
    device.status = ATTACHED
    assert device.after(FIGURES_US - STEP_US, PLAYING).figures == figures
    assert "underruns 0" in device.after(STEP_US, PLAYING).figures
    device.signs.toggle_figures()
    assert device.at(PLAYING).figures == ()


@pytest.mark.parametrize("status", [ATTACHED, LOST, DeviceStatus()])
def test_figures_without_anything_said(status: DeviceStatus) -> None:
    """Shown from the start if configured, and never a division by zero."""
    assert len(Device(status, figures=True).at().figures) == 6
