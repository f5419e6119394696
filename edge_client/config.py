"""Everything about an edge client that can be set, checked once.

A value comes from the command line, else from the environment (`EDGE_CLIENT_…`), else from a TOML file, else from the
default. `SETTINGS` is made from the fields of `EdgeConfig`, so that a setting is said in one place only.
"""

# ruff: noqa: RUF009 - `_setting` makes a dataclass field
from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from avatar_relay.addresses import is_loopback, split_address
from avatar_relay.errors import ConfigError
from avatar_relay.ids import ID_RULE, is_valid_id
from edge_client.face.colours import FaceColours, read_colour

DEFAULT_FILE = Path("/etc/avatar-relay/edge.toml")
ENVIRONMENT_PREFIX = "EDGE_CLIENT_"

SinkChoice = Literal["auto", "pyaudio", "virtual", "wav"]
RendererChoice = Literal["auto", "gles", "flat", "none"]
FrameStarvation = Literal["audio_independent", "strict_sync"]
MouthChoice = Literal["auto", "payload", "audio", "blend"]
LogLevel = Literal["debug", "info", "warning", "error"]

Reader = Callable[[object], Any]
"""Turns text (flag, environment) or a TOML value into a setting's type. Raises `ValueError` that says what it takes."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("takes text")
    return value


def _choice(*choices: str) -> Reader:
    def read(value: object) -> str:
        if value not in choices:
            raise ValueError(f"takes one of {', '.join(choices)}")
        return str(value)

    return read


def _number(low: float, high: float, unit: str, *, whole: bool) -> Reader:
    kind = "a whole number" if whole else "a number"

    def read(value: object) -> float:
        try:
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ValueError
            number = int(str(value)) if whole else float(value)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise ValueError(f"takes {kind} from {low:g} to {high:g}{unit}")
        return number

    return read


def _yes_or_no(value: object) -> bool:
    if isinstance(value, bool):
        return value
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if not isinstance(value, str) or value.lower() not in known:
        raise ValueError("takes true or false")
    return known[value.lower()]


def _path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("takes a path")
    return Path(value).expanduser()


def _size(value: object) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", value) if isinstance(value, str) else None
    sides = tuple(int(side) for side in match.groups()) if match else ()
    if len(sides) != 2 or not all(64 <= side <= 8192 for side in sides):
        raise ValueError("takes WIDTHxHEIGHT in pixels, such as 800x480, each side from 64 to 8192")
    return sides


def _colour(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("takes a colour as #rrggbb")
    read_colour(value)
    return value


def _setting(default: Any, read: Reader, help_text: str, metavar: str = "") -> Any:
    return dataclasses.field(default=default, metadata={"read": read, "help": help_text, "metavar": metavar})


def _one_of(default: str, kind: Any, help_text: str) -> Any:
    choices = get_args(kind)
    return _setting(default, _choice(*choices), help_text, "|".join(choices))


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig:
    """Settings of an edge client; the text of each is its documentation. Raises `ConfigError` where a value can not be."""

    relay: str = _setting("127.0.0.1:52000", _text, "relay to attach to", "HOST:PORT")
    insecure: bool = _setting(False, _yes_or_no, "speak plaintext to a relay that is not on this machine (else: TLS)")
    tls_ca_file: Path | None = _setting(None, _path, "certificates (PEM) that vouch for the relay; speaks TLS on this machine too", "FILE")
    tls_cert_file: Path | None = _setting(None, _path, "certificate (PEM) that this device shows the relay", "FILE")
    tls_key_file: Path | None = _setting(None, _path, "the certificate's key (PEM)", "FILE")
    token_file: Path | None = _setting(None, _path, "file with the token that this device shows the relay", "FILE")
    device_id: str = _setting("", _text, "name of this device; empty: the machine's name", "ID")
    audio_sink: SinkChoice = _one_of("auto", SinkChoice, "what plays: auto takes pyaudio where there is a sound device, else virtual")
    audio_device: str = _setting("", _text, "sound device by name, beginning of a name, or index; empty: the default one", "NAME")
    rate_hz: int = _setting(48_000, _number(8_000, 192_000, " Hz", whole=True), "rate of the sound output", "HZ")
    frames_per_buffer: int = _setting(480, _number(64, 8_192, "", whole=True), "frames that the sound device takes at once", "N")
    output_offset_ms: float = _setting(
        0.0, _number(-500, 2_000, " ms", whole=False), "sound is heard this much later than the device says (TV, Bluetooth)", "MS"
    )
    volume: float = _setting(1.0, _number(0, 1, "", whole=False), "loudest gain; what the relay sets is relative to it", "GAIN")
    frame_starvation: FrameStarvation = _one_of(
        "audio_independent", FrameStarvation, "when motion is late: the sound goes on, or waits up to 5 s"
    )
    mouth_source: MouthChoice = _one_of(
        "auto", MouthChoice, "what moves the mouth: the motion payload, the sound, or both; auto: what does best with each format"
    )
    flame_map: Path | None = _setting(
        None, _path, "map from AvatarKit's coefficients to the mouth, fitted for your own avatar; without it, the one that ships", "FILE"
    )
    renderer: RendererChoice = _one_of("auto", RendererChoice, "what draws the face; none: no face at all")
    size: tuple[int, int] = _setting((800, 480), _size, "size of window or picture", "WxH")
    fullscreen: bool = _setting(False, _yes_or_no, "take the whole screen")
    headless: bool = _setting(False, _yes_or_no, "no window and no sound device, even where there are any")
    pictures_per_second: float = _setting(30.0, _number(1, 240, "", whole=False), "pictures to draw each second at most", "N")
    stamp: bool = _setting(False, _yes_or_no, "write the PTS shown into a corner of each picture, for measuring lip-sync from outside")
    figures: bool = _setting(False, _yes_or_no, "show figures (skew, buffer, pictures, link) over the face; the key h does too")
    idle_life: bool = _setting(True, _yes_or_no, "blink, breathe and look around between the words")
    skin_colour: str = _setting("", _colour, "colour of the skin; empty: as painted", "#RRGGBB")
    hair_colour: str = _setting("", _colour, "colour of hair and brows; empty: as painted", "#RRGGBB")
    eye_colour: str = _setting("", _colour, "colour of the eyes; empty: as painted", "#RRGGBB")
    background_colour: str = _setting("", _colour, "colour behind the head; empty: as painted", "#RRGGBB")
    record: Path | None = _setting(None, _path, "leave sound, pictures and figures in this folder at exit", "DIR")
    exit_after_finished: int = _setting(
        0, _number(0, 1_000_000, "", whole=True), "exit when this many conversations have finished; 0: never", "N"
    )
    log_level: LogLevel = _one_of("info", LogLevel, "least important messages that are shown")

    def __post_init__(self) -> None:
        split_address(self.relay, "relay")
        if self.device_id and not is_valid_id(self.device_id):
            raise ConfigError(f"device_id: {self.device_id!r} can not be a name; it takes {ID_RULE}")
        self._check_credentials()
        if self.audio_sink == "wav" and self.record is None:
            raise ConfigError("audio_sink: wav plays into the record folder; name one with record")
        if self.record is not None and self.record.exists() and not self.record.is_dir():
            raise ConfigError(f"record: {self.record} is not a folder")

    @property
    def colours(self) -> FaceColours:
        """What was chosen of the face's colours."""
        return FaceColours(*(read_colour(text) for text in (self.skin_colour, self.hair_colour, self.eye_colour, self.background_colour)))

    @property
    def tls(self) -> bool:
        """Whether the link is encrypted: always, except within this machine or where `insecure` allows it."""
        asked_for = self.tls_ca_file is not None or self.tls_cert_file is not None
        return asked_for or not (self.insecure or is_loopback(split_address(self.relay, "relay")[0]))

    def _check_credentials(self) -> None:
        for name in ("tls_ca_file", "tls_cert_file", "tls_key_file", "token_file"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ConfigError(f"{name}: there is no file {path}")
            if path is not None and name != "token_file" and self.insecure:
                raise ConfigError(f"insecure and {name} contradict each other: leave one of them out")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ConfigError("tls_cert_file and tls_key_file come together")
        if self.token_file is not None and not self.tls and not is_loopback(split_address(self.relay, "relay")[0]):
            raise ConfigError("insecure and token_file contradict each other: a token does not travel in plaintext")


SETTINGS: dict[str, dataclasses.Field[Any]] = {field.name: field for field in dataclasses.fields(EdgeConfig)}


def load_config(
    flags: Mapping[str, object], environment: Mapping[str, str], *, file: Path | None, default_file: Path = DEFAULT_FILE
) -> EdgeConfig:
    """Put flags, environment, file and defaults together. `flags` holds what was said on the command line only.

    `file` must exist where it is named; `default_file` is read where it exists. Raises `ConfigError`, which names the
    setting, where it was said, and what it takes.
    """
    values: dict[str, Any] = {}
    named = file if file is not None else (default_file if default_file.is_file() else None)
    if named is not None:
        values |= _read_file(named)
    for name in SETTINGS:
        variable = ENVIRONMENT_PREFIX + name.upper()
        if variable in environment:
            values[name] = _read(name, environment[variable], variable)
    for name, value in flags.items():
        values[name] = _read(name, value, "--" + name.replace("_", "-"))
    return EdgeConfig(**values)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} can not be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    return {name: _read(name, value, f"{path}: {name}") for name, value in content.items()}


def _read(name: str, value: object, where: str) -> Any:
    if name not in SETTINGS:
        near = difflib.get_close_matches(name, SETTINGS, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(SETTINGS)}"
        raise ConfigError(f"{where}: there is no such setting{hint}")
    try:
        return SETTINGS[name].metadata["read"](value)
    except ValueError as error:
        raise ConfigError(f"{where}: {value!r} can not be used; it {error}") from error


def device_name(configured: str, host: str) -> str:
    """The device's name: as configured, else the machine's with what a name may not have replaced."""
    return configured or re.sub(r"[^A-Za-z0-9._-]", "-", host)[:64] or "edge-client"
