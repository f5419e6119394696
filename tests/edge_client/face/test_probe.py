"""Trying the GL driver in a child process: whatever it does, there is a result."""

from __future__ import annotations

import logging

import pytest

from edge_client.errors import ScreenError
from edge_client.face import screens
from edge_client.face.gl.opening import is_software_device
from edge_client.face.gl.probe import GlDriver, Probe
from edge_client.face.screens import open_renderer
from tests.lab.data import PROJECT_ROOT

BAD_TRIAL = "tests.edge_client.face.bad_trial"


def _bad(how: str, limit_s: int = 20) -> Probe:
    return Probe(how, module=BAD_TRIAL, limit_s=limit_s)


@pytest.fixture(autouse=True)
def tests_can_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find the replacement module."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT_ROOT))


def test_the_driver_of_this_machine() -> None:
    """It is GLES 3, and on a CPU smooth edges are off."""
    driver = Probe("offscreen").driver()
    assert driver.version.startswith("OpenGL ES 3")
    assert driver.samples == (0 if is_software_device(driver.device) else 4)


@pytest.mark.parametrize(
    ("how", "reason"),
    [("crash", "SIGSEGV"), ("refuse", "SDL says: no EGL here"), ("nothing", "ended with status 3")],
)
def test_a_driver_that_fails_is_an_answer(how: str, reason: str) -> None:
    """A driver that fails is a result, with the reason as text, each time it is queried."""
    probe = _bad(how)
    for _ in range(2):
        with pytest.raises(ScreenError, match=reason):
            probe.driver()


@pytest.mark.parametrize(("how", "samples"), [("crash-when-smooth", 0), ("hang-when-smooth", 0), ("chatter", 4)])
def test_what_worked_before_it_failed_is_used(how: str, samples: int) -> None:
    """A driver that fails only with several samples for each pixel draws with one."""
    assert _bad(how).driver() == GlDriver("OpenGL ES 3.1", "a bad GPU", vsync=True, samples=samples)


def test_a_driver_that_hangs_is_given_up() -> None:
    """A driver that hangs is stopped: the wait is bounded."""
    with pytest.raises(ScreenError, match="did not answer within 1 s"):
        _bad("hang", limit_s=1).driver()


def test_a_driver_that_crashes_gives_way_to_the_vector_face(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """With `auto` the vector face is used, and the reason is logged. If GLES is set explicitly, it is an error."""
    monkeypatch.setattr(screens, "Probe", lambda driver, variables: _bad("crash"))
    caplog.set_level(logging.INFO)
    renderer = open_renderer(choice="auto", size=(320, 240), fullscreen=False, headless=True)
    renderer.close()
    assert "vector" in renderer.name
    assert "crashed (SIGSEGV)" in caplog.text
    with pytest.raises(ScreenError, match="SIGSEGV"):
        open_renderer(choice="gles", size=(320, 240), fullscreen=False, headless=True)
