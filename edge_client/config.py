"""All settings of an edge client, declared and checked in one place."""

# ruff: noqa: RUF009 - `setting` makes a dataclass field
from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal, get_args

from avatar_relay import desk_settings as desk
from avatar_relay import setting_types as takes
from avatar_relay.addresses import split_addresses
from avatar_relay.client_settings import ClientSettings, is_local
from avatar_relay.errors import ConfigError
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.installer.index import check_index
from avatar_relay.log_settings import LogFormat, LogLevel
from avatar_relay.settings import ProgramSettings, Section, setting
from edge_client.cast import CAST, DEFAULT_HEAD, head_file
from edge_client.choices import (
    LARGEST_SOFT,
    BackgroundChoice,
    DetailChoice,
    FrameStarvation,
    HairChoice,
    Latency,
    Side,
    check_output_name,
    read_hours,
)
from edge_client.colours import AS_PAINTED, FaceColours, read_colour
from edge_client.motion.mouth_source import MouthSource
from edge_client.renderers import renderer_name

DEFAULT_FILE = Path("/etc/avatar-relay/edge.toml")

AUTO = ("auto",)
"""As `relay`: discover one."""
LOCAL_RELAY = "127.0.0.1:52000"
"""Default address of a relay on this machine."""

SinkChoice = Literal["auto", "pyaudio", "virtual", "wav"]

_COLOUR = takes.parsed(read_colour, "#RRGGBB", "a colour as #rrggbb")


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig(ClientSettings):
    """Settings of an edge client; the text of each is its documentation. Raises `ConfigError` if a value is invalid."""

    relay: tuple[str, ...] = setting(
        AUTO,
        takes.addresses(),
        "relay to attach to, or several: the device stays with one until it fails; "
        f"auto: the paired one, else one at {LOCAL_RELAY}, else an announced one",
    )
    pairing: bool = setting(True, takes.switch(), "pair with a relay that offers it if this device has no credentials")
    update_index: str = setting(
        "",
        takes.parsed(check_index, "URL", "the HTTPS address of an index"),
        "index of releases that `relayctl update` installs from; read from the file only; empty: none",
    )
    device_id: str = setting("", takes.text("ID"), "name of this device; empty: the machine's name")
    audio_sink: SinkChoice = setting(
        "auto", takes.choice(*get_args(SinkChoice)), "audio output; auto: pyaudio if there is a sound device, else virtual"
    )
    audio_device: str = setting(
        "",
        desk.AUDIO_DEVICE,
        "sound device: a name listed by `edge-client devices` or its beginning, any ALSA name, or path:PLACE; empty: the default one",
    )
    audio_side: Side = setting("both", takes.choice(*get_args(Side)), "which channels play; the other one is silent")
    audio_mixer: str = setting(
        "", takes.text("NAME"), "volume control of the sound card to use, such as PCM or Master; empty: samples are scaled instead"
    )
    keep_alive: bool = setting(
        False, takes.switch(), "play noise at -90 dB instead of silence, for speakers that mute on silence and cut off the first syllable"
    )
    release_after_s: float = setting(
        0.0,
        takes.number(0, 86_400, "s"),
        "close the sound device after this long without sound, so that other programs can use it; 0: never",
    )
    rate_hz: int = setting(48_000, takes.whole_number(8_000, 192_000, "Hz"), "rate of the sound, whatever the rate of the sound device")
    frames_per_buffer: int = setting(
        480, takes.whole_number(64, 8_192), "initial buffer size of the sound device; behind PulseAudio or PipeWire at least 20 ms"
    )
    latency: Latency = setting(
        "low", takes.choice(*get_args(Latency)), "maximum buffer of the sound device after underruns; low: 50 ms; safe: 200 ms"
    )
    output_offset_ms: float = setting(
        0.0,
        desk.OUTPUT_OFFSET,
        "how much later than reported the sound is heard (TV, Bluetooth); 0: as `edge-client calibrate` found for the card, if it did",
    )
    volume: float = setting(1.0, desk.LOUDEST, "maximum gain; the volume is relative to it")
    frame_starvation: FrameStarvation = setting(
        FrameStarvation.AUDIO_INDEPENDENT, takes.choice(*FrameStarvation), "if motion is late: the sound continues, or waits up to 5 s"
    )
    mouth_source: MouthSource = setting(
        MouthSource.AUTO,
        takes.choice(*MouthSource),
        "what moves the mouth: the motion payload, the sound, or both; auto: the best for each format",
    )
    flame_map: Path | None = setting(
        None, takes.path(), "map from AvatarKit's coefficients to the mouth, fitted to your own avatar; without it, the built-in one"
    )
    renderer: str = setting("auto", renderer_name(), "renderer of the face; none: no face")
    head: str = setting(
        DEFAULT_HEAD,
        takes.parsed(head_file, "NAME|FILE", f"{', '.join(CAST)}, or a path"),
        "head of the face: a built-in one, or the file made by `edge-client import-head`",
    )
    detail: DetailChoice = setting(
        "auto",
        takes.choice(*get_args(DetailChoice)),
        "how finely the head is drawn; auto: high on a GPU, low if pictures take too long",
    )
    hair: HairChoice = setting(
        "auto", takes.choice(*get_args(HairChoice)), "cut of a built-in head's hair; auto: the head's own; painted: close to the head"
    )
    background: BackgroundChoice = setting(
        "plain",
        takes.choice(*get_args(BackgroundChoice)),
        "behind the drawn head: a wall, a lit canvas, or a room out of focus",
    )
    size: tuple[int, int] = setting((800, 480), takes.size(), "size of window or picture")
    render_size: tuple[int, int] = setting(
        LARGEST_SOFT, takes.size(), "largest picture drawn by the CPU (software GL, vector face); scaled up to a larger window"
    )
    rotation: int = setting(0, desk.ROTATION, "clockwise rotation, for a screen mounted on its side: 0, 90, 180 or 270")
    round_screen: bool = setting(False, takes.switch(), "the screen is round: keep head and text within the circle in the middle")
    burn_in_shift: int = setting(
        0, takes.whole_number(0, 64, "pixels"), "move the face by at most this many pixels each minute, against burn-in"
    )
    monitor: str = setting(
        "", takes.text("NAME"), "monitor for the face: its number, from 0, or the beginning of its name; empty: the first"
    )
    sleep_after_s: float = setting(0.0, takes.number(0, 604_800, "s"), "screen sleeps after this long without speech; 0: never")
    sleep_hours: str = setting(
        "",
        takes.parsed(read_hours, "HH:MM-HH:MM", "two different times of day as HH:MM-HH:MM"),
        "hours (local time) in which the screen sleeps except during speech, once the clock is synchronised; empty: none",
    )
    sleep_command: str = setting(
        "",
        takes.parsed(shlex.split, "COMMAND", "a command line"),
        "command called with the argument sleep or wake if the screen has no switchable backlight",
    )
    fullscreen: bool = setting(False, takes.switch(), "use the whole screen")
    headless: bool = setting(False, takes.switch(), "no window and no sound device, even if there are any")
    pictures_per_second: float = setting(30.0, desk.PICTURES_PER_SECOND, "maximum pictures a second")
    stamp: bool = setting(False, takes.switch(), "write the PTS shown into a corner of each picture, for measuring lip-sync from outside")
    figures: bool = setting(False, desk.FLAG, "show figures (skew, buffer, pictures, link) over the face; the key h toggles them")
    idle_life: bool = setting(
        True, desk.FLAG, "blink, breathe and look around between words, and nod with them where motion moves neither head nor brows"
    )
    skin_colour: str = setting("", _COLOUR, "skin colour; empty: the original")
    hair_colour: str = setting("", _COLOUR, "colour of hair and brows; empty: the original")
    eye_colour: str = setting("", _COLOUR, "eye colour; empty: the original")
    background_colour: str = setting("", _COLOUR, "background colour; empty: the original")
    record: Path | None = setting(None, takes.path("DIR"), "write sound, pictures and figures to this folder at exit")
    exit_after_finished: int = setting(0, takes.whole_number(0, 1_000_000), "exit when this many conversations have finished; 0: never")
    log_level: LogLevel = setting("info", takes.choice(*get_args(LogLevel)), "minimum level of logged messages")
    log_format: LogFormat = setting(
        "auto",
        takes.choice(*get_args(LogFormat)),
        "how the log is written: lines of text, an object of JSON in each line, or entries of systemd's journal; auto: journal in a unit",
    )

    def __post_init__(self) -> None:
        if self.relay != AUTO:
            split_addresses(self.relay, "relay")
        if self.device_id and not is_valid_id(self.device_id):
            raise ConfigError(f"device_id: {self.device_id!r} cannot be a name; it takes {ID_RULE}")
        self._check_credentials(within_machine=self.relay != AUTO and all(map(is_local, self.relay)))
        if self.rotation % 90:
            raise ConfigError(f"rotation: {self.rotation} is none of 0, 90, 180, 270")
        try:
            check_output_name(self.audio_device)
        except ValueError as error:
            raise ConfigError(f"audio_device: {error}") from error
        if self.keep_alive and self.release_after_s:
            raise ConfigError("keep_alive and release_after_s contradict each other: leave one of them out")
        if self.audio_sink == "wav" and self.record is None:
            raise ConfigError("audio_sink: wav plays into the record folder; name one with record")
        if not self.head_file.is_file():
            raise ConfigError(
                f"head: {self.head} is none of {', '.join(CAST)}, and there is no such file; make one with edge-client import-head"
            )
        if self.record is not None and self.record.exists() and not self.record.is_dir():
            raise ConfigError(f"record: {self.record} is not a folder")

    @property
    def colours(self) -> FaceColours:
        """The chosen colours of the face; otherwise those of a built-in head."""
        own = CAST.get(self.head, AS_PAINTED)
        chosen = (read_colour(text) for text in (self.skin_colour, self.hair_colour, self.eye_colour, self.background_colour))
        return FaceColours(*(one or painted for one, painted in zip(chosen, astuple(own), strict=True)))

    @property
    def head_file(self) -> Path:
        """The file of the head."""
        return head_file(self.head)

    @property
    def may_sleep(self) -> bool:
        """Whether the screen ever sleeps."""
        return bool(self.sleep_after_s or self.sleep_hours)

    @property
    def tls(self) -> bool:
        """Whether the link to the configured relays is encrypted: to all of them, or to none."""
        return self.tls_to(LOCAL_RELAY) if self.relay == AUTO else any(self.tls_to(address) for address in self.relay)


SETTINGS = ProgramSettings("EDGE_CLIENT_", [Section.of(EdgeConfig, variables=("CONFIG",))])


def load_config(
    flags: Mapping[str, object], environment: Mapping[str, str], *, file: Path | None, default_file: Path = DEFAULT_FILE
) -> EdgeConfig:
    """Load the settings from all sources and check them. `flags` are the command-line flags, by name. Raises `ConfigError`.

    `file` must exist if given; `default_file` is read if it exists.
    """
    found = file if file is not None else (default_file if default_file.is_file() else None)
    config: EdgeConfig = SETTINGS.load(flags, environment, found)[""].make(EdgeConfig)
    return config


def device_name(configured: str, host: str) -> str:
    """The device's name: as configured, else the host name with invalid characters replaced."""
    return configured or re.sub(r"[^A-Za-z0-9._-]", "-", host)[:64] or "edge-client"
