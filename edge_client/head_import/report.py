"""The report of an import: shapes found, shapes substituted, shapes missing. Pure."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from edge_client.head_import.frame import Facing
from edge_client.head_import.shapes import ShapeTable

_WIDE = 110


@dataclass(frozen=True, slots=True)
class Report:
    """The contents of a model."""

    kind: str
    table: ShapeTable
    facing: Facing
    metres_high: float
    """From chin to crown, in the file's unit, which should be the metre."""
    vertices: int
    moving: int
    triangles: int
    left_out: int
    materials: list[str]
    texture_size: tuple[int, int]
    bones: list[str]
    has_eyeballs: bool

    def text(self) -> str:
        """Format for people."""
        table = self.table
        lines = [
            f"{self.kind}: {self.vertices} vertices ({self.moving} move), {self.triangles} triangles, {len(self.materials)} materials "
            f"in one texture of {self.texture_size[0]}×{self.texture_size[1]}",
            f"left out below and beside the shoulders: {self.left_out} triangles",
            self._size(),
            self._facing(),
            f"bones: {', '.join(self.bones) or 'none; the head turns about the usual places'}",
            self._eyes(),
            f"shapes found: {len(table.found)} of 52" + _listed(table.found),
            f"stand-ins: {len(table.stand_ins)}" + "".join(f"\n  {name}: {other}" for name, other in sorted(table.stand_ins.items())),
            f"missing, without effect: {len(table.missing)}" + _listed(table.missing),
            f"not used of the file: {len(table.unused)}" + _listed(table.unused),
            f"empty in the file: {len(table.empty)}" + _listed(table.empty),
            *(f"note: {note}" for note in self.notes()),
        ]
        return "\n".join(lines) + "\n"

    def notes(self) -> list[str]:
        """Points that a person should check."""
        missing = set(self.table.missing)
        found = []
        if {"eyeBlinkLeft", "eyeBlinkRight"} & missing:
            found.append("the lids do not shut: there is no eyeBlink (blink of VRM)")
        if "mouthClose" in self.table.stand_ins:
            found.append("p, b and m shut the mouth by shutting the jaw: there is no mouthClose")
        if {"mouthFunnel", "mouthPucker"} <= missing:
            found.append("the lips do not round: there is neither mouthFunnel nor mouthPucker")
        return found

    def _size(self) -> str:
        high = self.metres_high
        if 0.12 <= high <= 0.60:
            return f"chin to crown: {high:.2f} m"
        unit = "centimetres" if 12 <= high <= 60 else "millimetres" if 120 <= high <= 600 else "another unit"
        return f"chin to crown: {high:.4g} of the file's units, which seem to be {unit}; scaled to fit"

    def _facing(self) -> str:
        if self.facing.is_guessed:
            return f"taken to face as {self.kind} says: there are no shapes eyeBlinkLeft and eyeBlinkRight to tell it from"
        text = "faces the viewer" if self.facing.turn.trace() > 2.9 else "turned to face the viewer"
        return text + (
            "; left and right of its shapes were exchanged: the file names them as the viewer sees them" * self.facing.sides_swapped
        )

    def _eyes(self) -> str:
        if self.has_eyeballs:
            return "eyes: of the model, turned about their bones"
        if not any(name.startswith("eyeLook") for name in self.table.missing):
            return "eyes: of the model, moved by its shapes"
        return "eyes: of the model; they stay still, for there are neither bones leftEye and rightEye nor eyeLook shapes"


def _listed(names: list[str]) -> str:
    return "".join(f"\n  {line}" for line in textwrap.wrap(", ".join(names), _WIDE))
