"""The people of the cast: the MakeHuman targets of each face, its paint and its hair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Rgb = tuple[float, float, float]
"""Red, green, blue, 0 to 1."""

_SIDES = ("l", "r")


@dataclass(frozen=True, slots=True, kw_only=True)
class PaintColours:
    """The colours of a head's paint."""

    skin: Rgb
    warm: Rgb
    """Colour of cheeks, nose, chin and ears, where blood is visible."""
    lip: Rgb
    seam: Rgb
    """Colour of the line where the lips meet."""
    lid: Rgb
    brow: Rgb
    hair_dark: Rgb
    hair_light: Rgb
    shirt: Rgb
    lash: Rgb = (0.13, 0.085, 0.075)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A haircut on the head of the default person, in head units."""

    thick: float = 0.105
    """Thickness of the hair on the skull."""
    forehead: float = 0.70
    """Height of the hairline in the middle of the forehead."""
    falls: float = 0.30
    """Drop of the hairline towards the temple."""
    recedes: float = 0.0
    """Recession of the hairline above the temples."""
    temple: float = -0.20
    """Forward position of the front edge of the hair at the temple."""
    lowest: float = -0.12
    """Height of the lower end of the hair in front of the ear."""
    nape: float = -0.78
    """Height of the lower end of the hair at the nape."""
    ear: float = 1.0
    """Hair-free space around the ear, relative to the default person."""
    strands: float = 1.0
    """Fineness of the painted strands, relative to the default person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One head of the cast."""

    name: str
    targets: Mapping[str, float]
    """Weights of MakeHuman's targets, mixed into the base mesh."""
    palette: PaintColours
    cut: Cut = field(default_factory=Cut)
    usual_cut: str = "bob"
    """The modelled cut that is drawn unless another one is chosen (`edge_client.face.hair.CUTS`)."""
    scale: float = 1.0
    """Factor on the size that MakeHuman produces, so that all heads fill the picture equally."""
    smile: float = 0.13
    """Weight of the smile at rest."""
    lids: float = 0.40
    """Weight of `eyeWide` at rest."""
    flush: float = 1.0
    """Strength of the visible blood in the skin."""
    brows: float = 1.0
    """Fullness of the brows, relative to the default person."""
    lines: float = 0.0
    """Depth of the age lines, 0 to 1."""
    stubble: float = 0.0
    """Strength of the stubble, 0 to 1."""


def _both(name: str, weight: float) -> dict[str, float]:
    """The same weight for the left and right target of a name such as `eyes/*-eye-bag-incr`."""
    return {name.replace("*", side): weight for side in _SIDES}


CAST = (
    Person(
        name="maya",
        targets={
            "macrodetails/caucasian-female-young": 0.55,
            "macrodetails/asian-female-young": 0.25,
            "macrodetails/african-female-young": 0.20,
            "macrodetails/universal-female-young-averagemuscle-averageweight": 1.0,
            "head/head-oval": 0.45,
            "mouth/mouth-angles-up": 0.30,
        },
        palette=PaintColours(
            skin=(0.865, 0.665, 0.560),
            warm=(0.880, 0.535, 0.465),
            lip=(0.760, 0.405, 0.390),
            seam=(0.52, 0.20, 0.21),
            lid=(0.70, 0.47, 0.41),
            brow=(0.225, 0.135, 0.10),
            hair_dark=(0.155, 0.095, 0.070),
            hair_light=(0.36, 0.225, 0.155),
            shirt=(0.205, 0.330, 0.400),
        ),
    ),
    Person(
        name="kofi",
        targets={
            "macrodetails/african-male-young": 0.85,
            "macrodetails/caucasian-male-young": 0.15,
            "macrodetails/universal-male-young-averagemuscle-averageweight": 1.0,
            "head/head-oval": 0.25,
            "mouth/mouth-angles-up": 0.35,
            "mouth/mouth-scale-vert-decr": 0.15,
        },
        palette=PaintColours(
            skin=(0.500, 0.372, 0.285),
            warm=(0.500, 0.320, 0.245),
            lip=(0.510, 0.280, 0.260),
            seam=(0.27, 0.12, 0.11),
            lid=(0.375, 0.265, 0.205),
            brow=(0.075, 0.055, 0.050),
            hair_dark=(0.050, 0.042, 0.040),
            hair_light=(0.130, 0.110, 0.100),
            shirt=(0.430, 0.345, 0.225),
            lash=(0.06, 0.045, 0.04),
        ),
        cut=Cut(thick=0.050, forehead=0.66, falls=0.20, recedes=0.06, temple=-0.24, lowest=-0.09, nape=-0.56, ear=1.12, strands=3.0),
        usual_cut="curls",
        scale=0.92,
        smile=0.10,
        lids=0.55,
        flush=0.7,
        brows=1.35,
        lines=0.10,
        stubble=0.45,
    ),
    Person(
        name="hana",
        targets={
            "macrodetails/asian-female-old": 0.55,
            "macrodetails/asian-female-young": 0.45,
            "macrodetails/universal-female-old-averagemuscle-averageweight": 0.5,
            "macrodetails/universal-female-young-averagemuscle-averageweight": 0.5,
            "mouth/mouth-angles-up": 0.45,
            "mouth/mouth-laugh-lines-in": 0.3,
        },
        palette=PaintColours(
            skin=(0.860, 0.690, 0.555),
            warm=(0.850, 0.545, 0.440),
            lip=(0.730, 0.400, 0.385),
            seam=(0.50, 0.21, 0.20),
            lid=(0.690, 0.500, 0.410),
            brow=(0.235, 0.205, 0.195),
            hair_dark=(0.215, 0.210, 0.215),
            hair_light=(0.590, 0.580, 0.575),
            shirt=(0.345, 0.295, 0.400),
        ),
        cut=Cut(thick=0.125, forehead=0.62, falls=0.34, temple=-0.16, lowest=-0.22, nape=-0.92, ear=0.80),
        scale=1.0,
        smile=0.14,
        flush=0.8,
        brows=0.8,
        lines=0.6,
    ),
    Person(
        name="henrik",
        targets={
            "macrodetails/caucasian-male-old": 0.75,
            "macrodetails/caucasian-male-young": 0.25,
            "macrodetails/universal-male-old-averagemuscle-averageweight": 0.75,
            "macrodetails/universal-male-young-averagemuscle-averageweight": 0.25,
            "mouth/mouth-angles-up": 0.45,
            "head/head-rectangular": 0.25,
            **_both("eyes/*-eye-bag-incr", 0.35),
        },
        palette=PaintColours(
            skin=(0.850, 0.665, 0.570),
            warm=(0.850, 0.500, 0.430),
            lip=(0.715, 0.405, 0.380),
            seam=(0.47, 0.21, 0.20),
            lid=(0.720, 0.480, 0.420),
            brow=(0.520, 0.470, 0.430),
            hair_dark=(0.340, 0.328, 0.320),
            hair_light=(0.740, 0.720, 0.700),
            shirt=(0.235, 0.255, 0.300),
            lash=(0.24, 0.19, 0.17),
        ),
        cut=Cut(thick=0.065, forehead=0.78, falls=0.20, recedes=0.16, temple=-0.28, lowest=-0.07, nape=-0.66, ear=1.08, strands=1.4),
        usual_cut="swept",
        scale=0.93,
        smile=0.14,
        lids=0.65,
        flush=0.75,
        brows=1.25,
        lines=0.9,
        stubble=0.25,
    ),
)
"""The first is the default person, whose shape defines the positions of paint and parts."""
