# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture sheet of the worst and best shapes: known parts beside what was predicted."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..geometry.mesh import IntArray
from ..labelled_meshes.shards import write_atomically
from .render import render_labels
from .shapes import KnownShape

TILE = 230
TITLE = 20
CAPTION = 40
HEADING = 44
MARGIN = 14
CARDS_PER_ROW = 2
Z_UP_FORMATS = {".stl", ".dae", ".xml", ".urdf", ".step", ".stp", ".ply", ".blend"}
_INK, _FAINT, _PAPER = (30, 30, 34), (110, 110, 118), (255, 255, 255)


@dataclass(frozen=True)
class Card:
    """One shape on the sheet.

    score: what shapes are ordered by, and text printed under the pictures
    predictions: title -> face labels int [F] in the known parts' names, shown left to right after those
    """

    item: KnownShape
    score: float
    text: str
    predictions: dict[str, IntArray]


def write_sheet(path: Path, cards: Sequence[Card], *, title: str, each: int = 8) -> None:
    """Save the `each` worst and best of `cards` as one PNG (fewer where there are few shapes)."""
    ranked = sorted(cards, key=lambda card: (card.score, card.item.key))
    each = min(each, (len(ranked) + 1) // 2)
    sections = [("worst", ranked[:each]), ("best", ranked[each:][::-1][:each])]
    drawn = [(name, [_draw(card) for card in chosen]) for name, chosen in sections if chosen]
    width = max(tile.width for _, tiles in drawn for tile in tiles)
    row_height = TITLE + TILE + CAPTION + MARGIN
    rows = sum(-(-len(tiles) // CARDS_PER_ROW) for _, tiles in drawn)
    sheet = Image.new(
        "RGB",
        (
            CARDS_PER_ROW * (width + MARGIN) + MARGIN,
            HEADING * (len(drawn) + 1) + rows * row_height + MARGIN,
        ),
        _PAPER,
    )
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 12), title, font=_font(20), fill=_INK)
    y = HEADING
    for name, tiles in drawn:
        pen.text((MARGIN, y + 12), name, font=_font(18), fill=_FAINT)
        y += HEADING
        for first in range(0, len(tiles), CARDS_PER_ROW):
            for column, tile in enumerate(tiles[first : first + CARDS_PER_ROW]):
                sheet.paste(tile, (MARGIN + column * (width + MARGIN), y))
            y += row_height
    encoded = io.BytesIO()
    sheet.save(encoded, format="PNG", optimize=True)
    write_atomically(path, encoded.getvalue())


def _draw(card: Card) -> Image.Image:
    """Known parts and predictions side by side, with a caption. Equal labels have equal colours."""
    item = card.item
    columns = {"known parts": item.labels, **card.predictions}
    picture = Image.new("RGB", (TILE * len(columns), TITLE + TILE + CAPTION), _PAPER)
    pen = ImageDraw.Draw(picture)
    for column, (name, labels) in enumerate(columns.items()):
        pixels = render_labels(item.mesh, np.asarray(labels), size=TILE, up=_up_axis(item.key))
        picture.paste(Image.fromarray(pixels), (column * TILE, TITLE))
        pen.text((column * TILE + 6, 2), name, font=_font(12), fill=_FAINT)
    pen.text((6, TITLE + TILE + 2), card.text, font=_font(14), fill=_INK)
    origin = f"{item.source.split('/')[-1]} / {PurePosixPath(item.key).name}"
    detail = f"{origin} · {item.labeling} · {item.mesh.face_count} faces"
    pen.text((6, TITLE + TILE + 21), _shortened(detail, 42 * len(columns)), font=_font(11), fill=_FAINT)
    return picture


def _up_axis(key: str) -> str:
    """Formats' conventions differ; a lying shape on the sheet is all that a wrong guess costs."""
    return "z" if PurePosixPath(key).suffix.lower() in Z_UP_FORMATS else "y"


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
