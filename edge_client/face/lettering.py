"""Paints an overlay: pieces of picture with their positions. Uses SDL's own font, so that no font needs to be installed."""

from __future__ import annotations

from dataclasses import dataclass

import pygame

from edge_client.face.framing import WHOLE, Framing
from edge_client.face.overlay import Overlay, Page

_VEIL = (8, 10, 16, 196)
_PLATE = (8, 10, 16, 150)
_WHITE, _GREY, _AMBER = (255, 255, 255), (206, 212, 222), (255, 190, 92)
_TITLE_PART, _TEXT_PART, _SIGN_PART, _FIGURES_PART = 0.125, 0.075, 0.052, 0.036
"""Sizes of the letters as fractions of the picture's shorter side. On a 7" screen (86 mm high) capitals are 7.5 mm and 4.5 mm high:
at two metres, sight of 6/12 resolves letters of 6 mm, and normal sight 3 mm."""
_MAX_TEXT = 300


@dataclass(frozen=True, slots=True)
class Piece:
    """A picture with alpha, and the position of its upper left corner."""

    surface: pygame.Surface
    x: int
    y: int


class Lettering:
    """Paints overlays for one size of picture. Caches its fonts."""

    def __init__(self, size: tuple[int, int], framing: Framing = WHOLE) -> None:
        """Load the fonts. Raises `pygame.error`."""
        pygame.font.init()
        self._size = size
        self._margins = framing.margins(size)
        side = min(self._room)
        self._title, self._text, self._sign, self._figures = (
            pygame.font.Font(None, max(12, round(part * side * 1.4))) for part in (_TITLE_PART, _TEXT_PART, _SIGN_PART, _FIGURES_PART)
        )

    @property
    def _room(self) -> tuple[int, int]:
        """Width and height available for text."""
        return self._size[0] - 2 * self._margins[0], self._size[1] - 2 * self._margins[1]

    def pieces(self, overlay: Overlay) -> list[Piece]:
        """Return the pieces to draw over the picture, in order."""
        if overlay.is_dark:
            sheet = pygame.Surface(self._size, pygame.SRCALPHA)
            sheet.fill((0, 0, 0, 255))
            return [Piece(sheet, 0, 0)]
        made: list[Piece] = []
        if overlay.page is not None:
            made.append(self._page(overlay.page))
        margin = max(4, min(self._size) // 40)
        across, down = self._margins[0] + margin, self._margins[1] + margin
        if overlay.sign:
            plate = self._plate([overlay.sign], self._sign, _AMBER)
            made.append(Piece(plate, self._size[0] - plate.get_width() - across, down))
        if overlay.figures:
            made.append(Piece(self._plate(list(overlay.figures), self._figures, _WHITE), across, down))
        return made

    def _page(self, page: Page) -> Piece:
        width, height = self._size
        sheet = pygame.Surface(self._size, pygame.SRCALPHA)
        sheet.fill(_VEIL)
        room = round(self._room[0] * 0.88)
        qr = qr_code(page.qr, round(min(self._room[0] * 0.34, self._room[1] * 0.6))) if page.qr else None
        if qr is not None:
            width -= qr.get_width()
            room -= qr.get_width()
            sheet.blit(qr, (width - self._margins[0] - min(self._size) // 40, (height - qr.get_height()) // 2))
        title = self._fitting(page.title, room)
        lines = [(line, title, _WHITE) for line in wrapped(page.title, title, room)]
        lines += [(line, self._text, _GREY) for line in wrapped(page.text[:_MAX_TEXT], self._text, room)]
        total = sum(font.get_linesize() for _, font, _ in lines)
        y = max(0, (height - total) // 2)
        for line, font, colour in lines:
            letters = font.render(line, True, colour)
            sheet.blit(letters, ((width - letters.get_width()) // 2, y))
            y += font.get_linesize()
        return Piece(sheet, 0, 0)

    def _fitting(self, title: str, room: int) -> pygame.font.Font:
        """The font of a title, smaller if a word would be cut: every letter of a code matters."""
        widest = max((self._title.size(word)[0] for word in title.split()), default=0)
        if widest <= room:
            return self._title
        return pygame.font.Font(None, max(12, round(_TITLE_PART * min(self._room) * 1.4 * room / widest)))

    def _plate(self, lines: list[str], font: pygame.font.Font, colour: tuple[int, int, int]) -> pygame.Surface:
        letters = [font.render(line, True, colour) for line in lines]
        pad = font.get_height() // 3
        wide = min(self._room[0], max(line.get_width() for line in letters) + 2 * pad)
        plate = pygame.Surface((wide, font.get_linesize() * len(letters) + 2 * pad), pygame.SRCALPHA)
        plate.fill(_PLATE)
        for place, line in enumerate(letters):
            plate.blit(line, (pad, pad + place * font.get_linesize()))
        return plate


def qr_code(text: str, side: int) -> pygame.Surface | None:
    """A QR code of at most `side` pixels; None if the package segno is not installed, or if it would be too small."""
    try:
        import segno  # imported late: only a device that pairs shows one
    except ImportError:
        return None
    border = 2
    matrix = segno.make(text, micro=False).matrix
    modules = len(matrix) + 2 * border
    if side < modules:
        return None
    small = pygame.Surface((modules, modules))
    small.fill(_WHITE)
    for y, row in enumerate(matrix):
        for x, dark in enumerate(row):
            if dark:
                small.set_at((x + border, y + border), (0, 0, 0))
    return pygame.transform.scale_by(small, side // modules)


def wrapped(text: str, font: pygame.font.Font, room: int) -> list[str]:
    """Wrap text to lines no wider than `room` pixels; a single word that is wider is cut."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.size(joined)[0] <= room:
            lines[-1] = joined
            continue
        while len(word) > 1 and font.size(word)[0] > room:
            word = word[:-2] + "…"
        lines.append(word)
    return lines
