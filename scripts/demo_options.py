"""The demo's command line, with the standard library only: it is also parsed before installation, to report errors early."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

DEFAULT_OUT = Path(__file__).resolve().parent.parent / "demo-out"


@dataclass(frozen=True, slots=True)
class Options:
    """The parsed command line. At most one of `wav`, `recording` and `say` is set."""

    wav: Path | None
    recording: Path | None
    say: str | None
    degrees: bool
    headless: bool
    seconds: float | None
    out: Path
    head: str
    """As the edge client's setting; empty: its default."""


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {path}")
    return path.resolve()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, up to 3600")
    return seconds


def _head(text: str) -> str:
    """Parse a head: a name, or a file, recognised by a suffix or a folder."""
    return str(_file(text)) if "/" in text or "." in text else text


def read_options(arguments: list[str] | None = None) -> Options:
    """Parse the command line; exits with an error message if it is invalid."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Runs a relay and an edge client on this machine, and a backend that has them speak. Plays to the default "
        "ALSA device and draws into a window, if there are any. Leaves sound, film, pictures, trace and figures in a folder.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--wav", type=_file, metavar="FILE", help="a speech file (WAV, FLAC, Ogg, MP3); motion is made from the sound")
    recorded = "a recorded AvatarKit conversation (JSON), or motion (CSV, JSON) beside its sound"
    what.add_argument("--recording", type=_file, metavar="FILE", help=recorded)
    what.add_argument("--say", metavar="TEXT", help="text, spoken by espeak-ng")
    parser.add_argument("--degrees", action="store_true", help="angles of recorded motion are in degrees, not radians")
    parser.add_argument("--headless", action="store_true", help="no sound device and no window, even if there are any")
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="interrupt the speech after N seconds")
    parser.add_argument("--out", type=Path, metavar="DIR", default=DEFAULT_OUT, help="where the results go (default: demo-out)")
    parser.add_argument("--head", type=_head, metavar="NAME|FILE", default="", help="a head that ships, or an imported one (docs/face.md)")
    found = parser.parse_args(arguments)
    if found.say is not None and not found.say.strip():
        parser.error("argument --say: the text is empty")
    if found.out.exists() and not found.out.is_dir():
        parser.error(f"argument --out: {found.out} is not a folder")
    return Options(found.wav, found.recording, found.say, found.degrees, found.headless, found.seconds, found.out.resolve(), found.head)


if __name__ == "__main__":
    read_options()
