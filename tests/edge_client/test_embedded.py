"""A device within an application: sound, face and events around a coroutine, on the real threads."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.errors import ConfigError
from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat
from avatar_relay.messages import Finished
from edge_client import renderers
from edge_client.audio.sinks.virtual import VirtualDevice
from edge_client.config import EdgeConfig
from edge_client.embedded import run_player
from edge_client.errors import EdgeError, ScreenError
from edge_client.face.overlay import NOTHING, Overlay
from edge_client.face.renderer import Picture, Wish
from edge_client.face_process.factory import open_installed
from edge_client.motion.pose import BLENDSHAPES, Pose
from edge_client.player import Player, PlayerCallbacks

PCM = AudioFormat(Codec.PCM_S16LE, 16_000)
WEIGHTS = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 25.0, ARKIT_NAMES)
TONE = (8_000 * np.sin(2 * np.pi * 440 * np.arange(3_200) / 16_000)).astype("<i2").tobytes()
JAW = BLENDSHAPES.start + ARKIT_NAMES.index("jawOpen")
FACELESS = EdgeConfig(headless=True, renderer="none")


class DrawnPoses:
    """A renderer that notes whether a picture had an open jaw; `wish` is the user's request in its window."""

    name = "the test"
    size = (64, 64)

    def __init__(self, wish: Callable[[], Wish] = lambda: Wish.NONE) -> None:
        self.moved = threading.Event()
        self.threads: set[str] = set()
        self.closed = False
        self._wish = wish

    def draw(self, pose: Pose, *, overlay: Overlay = NOTHING, stamp: int | None = None) -> None:
        assert overlay.page is None
        if pose[JAW] > 0.2:  # motion is faded in over 0.32 s
            self.moved.set()
        self.threads.add(threading.current_thread().name)

    def show(self) -> None:
        """Nothing."""

    def read(self) -> Picture:
        return np.zeros((64, 64, 3), np.uint8)

    def poll(self) -> Wish:
        return self._wish()

    def close(self) -> None:
        self.closed = True


def live_threads() -> set[str]:
    """Names of all threads except the main one."""
    return {thread.name for thread in threading.enumerate()} & {"player"}


def test_application_plays_sound_and_moves_the_face() -> None:
    """Methods are called on the loop's thread, pictures drawn on the main one, outcomes reported by callback, the result returned."""
    heard: list[tuple[str, Finished]] = []
    over = asyncio.Event()
    face = DrawnPoses()

    def finished(conversation_id: str, body: Finished) -> None:
        heard.append((conversation_id, body))
        over.set()

    async def application(player: Player) -> str:
        assert threading.current_thread().name == "player"
        weights = np.zeros((5, len(ARKIT_NAMES)), "<f4")
        weights[:, ARKIT_NAMES.index("jawOpen")] = 1.0
        conversation_id = await player.yield_audio_data(TONE)
        for _ in range(100):  # 0.2 s each, until the face moves: a busy machine draws few pictures
            assert await player.yield_frames_data([weights.tobytes()], conversation_id)
            await player.yield_audio_data(TONE)
            if await asyncio.to_thread(face.moved.wait, 0.2):
                break
        await player.yield_audio_data(b"", end=True)
        await over.wait()
        return conversation_id

    config = EdgeConfig(headless=True, volume=0.5)
    conversation_id = run_player(
        application,
        config,
        audio_format=PCM,
        motion_format=WEIGHTS,
        callbacks=PlayerCallbacks(on_finished=finished),
        open_renderer=lambda _: face,
    )
    assert [(name, body.reason) for name, body in heard] == [(conversation_id, "completed")]
    assert face.threads == {"MainThread"}
    assert face.moved.is_set()
    assert face.closed
    assert live_threads() == set()


def test_a_volume_is_stored_where_the_application_asks_for_it(tmp_path: Path) -> None:
    """The setting is the initial volume of the first run; without a file, of each run."""

    async def set_volume(player: Player) -> float:
        before = player.volume
        player.set_volume(0.25, muted=True)
        return before

    config = EdgeConfig(headless=True, renderer="none", volume=0.5)
    for expected in (0.5, 0.25):
        assert run_player(set_volume, config, audio_format=PCM, volume_file=tmp_path / "volume.json") == expected
    assert run_player(set_volume, config, audio_format=PCM) == 0.5


def test_closing_the_window_cancels_the_application() -> None:
    """The application can clean up; the result is None."""
    runs = threading.Event()
    cleaned_up: list[bool] = []
    face = DrawnPoses(lambda: Wish.LEAVE if runs.is_set() else Wish.NONE)

    async def application(player: Player) -> int:
        try:
            runs.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned_up.append(True)
        return 1

    assert run_player(application, EdgeConfig(headless=True), audio_format=PCM, open_renderer=lambda _: face) is None
    assert cleaned_up == [True]
    assert face.closed


def test_error_of_the_application_reaches_the_caller() -> None:
    """Sound and threads have ended by then."""

    async def application(player: Player) -> None:
        raise LookupError("the transport is gone")

    with pytest.raises(LookupError, match="the transport is gone"):
        run_player(application, FACELESS, audio_format=PCM)
    assert live_threads() == set()


def test_error_of_the_playback_ends_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program does not wait for a player that failed."""

    async def broken(self: Player) -> None:
        raise ZeroDivisionError("injected")

    async def application(player: Player) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Player, "run", broken)
    with pytest.raises(ZeroDivisionError, match="injected"):
        run_player(application, FACELESS, audio_format=PCM)


def test_dead_sound_thread_ends_the_run(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The application is not left waiting for sound that is never played; `threading.excepthook` is restored afterwards."""

    def step(*_: object) -> None:
        raise ZeroDivisionError("injected")

    async def application(player: Player) -> None:
        await asyncio.Event().wait()

    report = threading.excepthook
    monkeypatch.setattr(VirtualDevice, "step", step)
    with caplog.at_level(logging.CRITICAL), pytest.raises(EdgeError, match="a thread ended unexpectedly"):
        run_player(application, FACELESS, audio_format=PCM)
    assert "injected" in caplog.text
    assert threading.excepthook is report


@pytest.mark.usefixtures("python_handles_sigint")
def test_keyboard_interrupt_cancels_the_application() -> None:
    """Ctrl-C while the main thread waits cancels the application."""
    cancelled: list[bool] = []

    async def application(player: Player) -> None:
        ident = threading.main_thread().ident
        assert ident is not None
        signal.pthread_kill(ident, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(KeyboardInterrupt):
        run_player(application, FACELESS, audio_format=PCM)
    assert cancelled == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_only_the_main_thread_draws() -> None:
    """Only the main thread may draw: SDL and GL require it."""

    async def application(player: Player) -> None:
        raise AssertionError

    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="on the main thread"):
        pool.submit(run_player, application, FACELESS, audio_format=PCM).result()


def test_renderer_that_cannot_draw_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the renderer cannot draw, the application does not start."""

    async def application(player: Player) -> None:
        raise AssertionError

    def refuse(config: EdgeConfig) -> DrawnPoses:
        raise ScreenError("no LEDs")

    with pytest.raises(ScreenError, match="no LEDs"):
        run_player(application, FACELESS, audio_format=PCM, open_renderer=refuse)


def test_recording_needs_a_relay(tmp_path: object) -> None:
    """Settings that would have no effect are refused."""

    async def application(player: Player) -> None:
        raise AssertionError

    with pytest.raises(ConfigError, match="record: only edge-client records"):
        run_player(application, EdgeConfig(headless=True, record=tmp_path), audio_format=PCM)  # type: ignore[arg-type]


class Entry:
    """An entry point."""

    name = "leds"
    value = "leds:open"

    def __init__(self, found: object) -> None:
        self._found = found

    def load(self) -> object:
        """The object it refers to."""
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def install(monkeypatch: pytest.MonkeyPatch, found: object) -> None:
    """Install a package that provides the renderer `leds`."""
    monkeypatch.setattr(renderers, "entry_points", lambda **_: [Entry(found)])


def test_installed_renderer_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A renderer is chosen by its entry point's name, which the settings then accept."""
    face = DrawnPoses()
    install(monkeypatch, lambda config: face)
    assert renderers.renderer_name().read("leds") == "leds"
    assert open_installed(EdgeConfig(renderer="leds")) is face
    with pytest.raises(ValueError, match="takes one of auto, gles, flat, none, leds"):
        renderers.renderer_name().read("lights")


@pytest.mark.parametrize(
    ("found", "text"), [(ImportError("no module"), "leds cannot be loaded: ImportError: no module"), ("text", "is not a function")]
)
def test_renderer_that_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch, found: object, text: str) -> None:
    """A renderer that cannot be loaded is an error with its name and the cause."""
    install(monkeypatch, found)
    with pytest.raises(ConfigError, match=text):
        open_installed(EdgeConfig(renderer="leds"))
