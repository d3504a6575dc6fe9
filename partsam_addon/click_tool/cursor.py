# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands beside the mouse while a tool runs: progress, number of faces, confidence."""

from __future__ import annotations

from collections.abc import Callable

import blf
import bpy

from ..wording import say, say_count
from .work import ClickWork, Phase

FONT = 0
FONT_PIXELS = 12
OFFSET_PIXELS = (18, -22)

LEVELS = ("whole", "part", "sub-part")


class CursorText:
    """Text at the mouse, drawn as a cursor is: moving the mouse does not draw the viewport again."""

    def __init__(self, lines: Callable[[], list[str]]) -> None:
        """lines: what to say now"""
        self._lines = lines
        self._handle = bpy.types.WindowManager.draw_cursor_add(self._draw, (), "VIEW_3D", "WINDOW")

    def remove(self) -> None:
        """Stop drawing. May be called twice."""
        if self._handle is not None:
            bpy.types.WindowManager.draw_cursor_remove(self._handle)
            self._handle = None

    def _draw(self, mouse: tuple[int, int]) -> None:
        scale = bpy.context.preferences.system.ui_scale
        blf.size(FONT, FONT_PIXELS * scale)
        blf.enable(FONT, blf.SHADOW)
        blf.shadow(FONT, 5, 0.0, 0.0, 0.0, 1.0)
        x, y = (place + offset * scale for place, offset in zip(mouse, OFFSET_PIXELS, strict=True))
        for line in self._lines():
            blf.position(FONT, x, y, 0)
            blf.color(FONT, 1.0, 1.0, 1.0, 1.0)
            blf.draw(FONT, line)
            y -= (FONT_PIXELS + 4) * scale
        blf.disable(FONT, blf.SHADOW)


def cursor_lines(work: ClickWork) -> list[str]:
    """What to say now, a few short lines: why the last press did nothing comes first."""
    return [*([work.hint] if work.hint else []), *_state_lines(work)]


def _state_lines(work: ClickWork) -> list[str]:
    """What to work is at, one or two short lines."""
    if work.phase is Phase.PREPARING:
        stage, fraction = work.progress or ("", 0.0)
        share = f" {fraction:.0%}" if fraction > 0 else ""
        return [say(stage.capitalize() or "Preparing") + share]
    lines = [] if not work.is_accepting else [say("Accepting")]
    shown = work.part.preview if work.part.clicks else work.part.hover
    if work.part.clicks and work.is_thinking:
        return [*lines, say("Thinking")]
    if shown is None:
        return lines
    faces = int(shown.polygons.sum())
    facts = [say_count(faces, "one face", "{count} faces"), say("{share} sure", share=f"{shown.score:.0%}")]
    lines.append(", ".join(facts + [say("looking closer")] * work.is_looking_closer))
    if len(shown.answer.scores) > 1:
        lines.append(levels_text(shown.answer.shares.tolist(), shown.answer.scores.tolist(), shown.candidate))
    return lines


def levels_text(shares: list[float], scores: list[float], chosen: int) -> str:
    """The candidates from the largest to the smallest with their scores, the chosen one in brackets."""
    order = sorted(range(len(shares)), key=lambda index: -shares[index])
    names = LEVELS if len(order) == len(LEVELS) else [""] * len(order)
    texts = [
        f"{number} {name} {scores[index]:.0%}"
        for number, (index, name) in enumerate(zip(order, names, strict=True), 1)
    ]
    return "   ".join(
        f"[{text}]" if index == chosen else text for index, text in zip(order, texts, strict=True)
    )
