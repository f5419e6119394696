"""Which ALSA output a setting selects, and how it is opened. Pure.

The rules:
1. Empty: ALSA's default output, then each card in turn.
2. `path:` and the end of a card's device path, such as `path:1-1.2:1.0`: that card. Only the path distinguishes two equal cards.
3. A number: the output with this index in the list. An output's name, a card's id: that one.
4. A name with a colon is ALSA's own, such as `plughw:CARD=Device` or `hw:1,0`, and is passed to ALSA.
5. Otherwise a prefix of exactly one output's name or card's id or name, ignoring case.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

from edge_client.choices import BY_PATH, check_output_name
from edge_client.errors import SinkError

DEFAULT = "default"
AVATAR_OUT = "avatar_out"
"""The ALSA name through which the speaker process opens the chosen output."""
_NAMED_BY_PORTAUDIO = re.compile(r".*\((hw:\d+,\d+)\)")
_NOTHING = "no sound card: ALSA offers no output; attach one, or check `aplay -L` and the user's membership in the group 'audio'"


@dataclass(frozen=True, slots=True)
class Card:
    """A card with a playback device."""

    number: int
    """Depends on the order in which cards were found."""
    id: str
    name: str
    device: int = 0
    """Its first playback device."""
    path: str = ""
    """Its device path, such as `…/usb1/1-1/1-1.2/1-1.2:1.0`; empty if unknown."""


@dataclass(frozen=True, slots=True)
class OutputDevice:
    """An output as a user selects it. `index` is valid until cards are added or removed."""

    index: int
    name: str
    description: str
    card: Card | None = None

    def __str__(self) -> str:
        return f"[{self.index}] {self.name}" + (f" ({self.description})" if self.description else "")


class Conversion(enum.Enum):
    """ALSA's conversion of samples, not of their rate. Less is better: below a converting plug-in, PulseAudio's asks for no sound."""

    NONE = "as they are"
    SAMPLES = "format and channels"
    IEC958 = "framed for HDMI, as that of a Raspberry Pi takes them"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to open an output."""

    pcm: str
    """The ALSA name."""
    key: str
    """The key under which data of the card is stored."""


def outputs(cards: Sequence[Card], names: Sequence[tuple[str, str]]) -> list[OutputDevice]:
    """All outputs: the default one, each card, and further names of ALSA's configuration, given as (name, description)."""
    found: list[tuple[str, str, Card | None]] = [(DEFAULT, dict(names).get(DEFAULT, ""), None)]
    found += [(f"hw:CARD={card.id},DEV={card.device}", _described(card), card) for card in cards]
    known = {name for name, _, _ in found}
    found += [(name, text, None) for name, text in names if name not in known]
    return [OutputDevice(index, name, text, card) for index, (name, text, card) in enumerate(found)]


def candidates(wanted: str, devices: Sequence[OutputDevice]) -> list[Candidate]:
    """The ways to open the output selected by `wanted`, the best first. Raises `SinkError` that lists the available outputs."""
    if not wanted:
        ways = [Candidate(DEFAULT, DEFAULT)]
        return ways + [way for device in devices if device.card for way in _ways(device)]
    return _ways(choose(wanted, devices))


def choose(wanted: str, devices: Sequence[OutputDevice]) -> OutputDevice:
    """The output selected by `wanted`, by the rules above. Raises `SinkError` that lists the available outputs."""
    found = _found(wanted.strip(), devices)
    if len(found) == 1:
        return found[0]
    listed = "; ".join(map(str, found or devices)) or _NOTHING
    problem = "matches several outputs" if found else "is not an output"
    raise SinkError(f"{wanted!r} {problem}: {listed}")


def _found(wanted: str, devices: Sequence[OutputDevice]) -> list[OutputDevice]:
    if not wanted:
        return [device for device in devices if device.name == DEFAULT]
    if wanted.startswith(BY_PATH):
        place = "/" + wanted.removeprefix(BY_PATH)
        return [device for device in devices if device.card and device.card.path.endswith(place)]
    if wanted.isascii() and wanted.isdigit():
        return [device for device in devices if device.index == int(wanted)]
    if exact := [device for device in devices if wanted in _names(device)]:
        return exact[:1]
    if old := _NAMED_BY_PORTAUDIO.fullmatch(wanted):
        wanted = old[1]
    if ":" in wanted:
        return [OutputDevice(len(devices), wanted, "")]
    beginning = wanted.casefold()
    return [device for device in devices if any(name.casefold().startswith(beginning) for name in (*_names(device), _card_name(device)))]


def _names(device: OutputDevice) -> tuple[str, ...]:
    return (device.name, device.card.id) if device.card else (device.name,)


def _card_name(device: OutputDevice) -> str:
    return device.card.name if device.card else device.name


def _ways(device: OutputDevice) -> list[Candidate]:
    """A card is tried directly, for the best timing, then as ALSA's configuration shares it, in case another program is playing."""
    card = device.card
    if card is None:
        return [Candidate(device.name, device.name)]
    key = card.path or card.id
    return [Candidate(f"hw:CARD={card.id},DEV={card.device}", key), Candidate(f"sysdefault:CARD={card.id}", key)]


def _described(card: Card) -> str:
    at = card.path.rpartition("/")[2]
    return f"{card.name}, path:{at}" if at else card.name


def alsa_configuration(pcm: str, conversion: Conversion) -> str:
    """ALSA configuration that makes `AVATAR_OUT` play through an output accepted by `check_output_name`, with a conversion."""
    name = f'"{check_output_name(pcm)}"'
    match conversion:
        case Conversion.NONE:
            return f"pcm.{AVATAR_OUT} {name}\n"
        case Conversion.SAMPLES:
            return f"pcm.{AVATAR_OUT} {{ type plug slave {{ pcm {name} rate unchanged }} }}\n"
        case Conversion.IEC958:
            framed = f"pcm.avatar_iec958 {{ type iec958 slave {{ pcm {name} format IEC958_SUBFRAME_LE }} }}\n"
            return framed + alsa_configuration("avatar_iec958", Conversion.SAMPLES)
