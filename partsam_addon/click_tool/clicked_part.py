# SPDX-License-Identifier: GPL-3.0-or-later
"""The part that is being clicked, and what the network says to its clicks so far."""

from __future__ import annotations

from collections.abc import Sequence

from ..mesh_exchange import MeshSource
from .accepting import Accepted, Target
from .asking import Asked, prior_of
from .masks import Answer, Choice, PolygonMap, Preview, obey_clicks
from .prompts import Click, mirrored
from .questions import CutAnswer, PartAnswer
from .snapping import Snapping, cut_polygons, snapped


class ClickedPart:
    """Clicks and previews. It asks nothing itself, but knows what is not answered yet.

    clicks: of the part; target: the part that they change, None for a new one
    choice: which candidate is meant; mirror: whether the other side of the object's X axis is meant, too
    preview: the part under the clicks; twin: the one under the mirrored clicks
    hover: the part under the mouse; pointed: the place under the mouse
    """

    def __init__(self, source: MeshSource) -> None:
        """source: the mesh that is clicked"""
        self.clicks: tuple[Click, ...] = ()
        self.target: Target | None = None
        self.choice = Choice()
        self.mirror = False
        self.preview: Preview | None = None
        self.twin: Preview | None = None
        self.hover: Preview | None = None
        self.pointed: Click | None = None
        self.map = PolygonMap(source)
        self._source = source

    @property
    def previews(self) -> list[Preview]:
        """The preview and its mirror image, as far as there are any."""
        both = (self.preview, self.twin if self.mirror else None)
        return [each for each in both if each is not None]

    @property
    def is_behind(self) -> bool:
        """Whether the previews do not show all clicks yet."""
        return self.unanswered is not None

    @property
    def unanswered(self) -> Asked | None:
        """What is to be asked for the previews to show all clicks; None where they do."""
        if self.clicks and not self.answers(self.preview, self.clicks):
            return self._about(self.clicks, self.preview)
        other_side = mirrored(self.clicks)
        if self.clicks and self.mirror and not self.answers(self.twin, other_side):
            return self._about(other_side, self.twin)
        return None

    @property
    def unseen(self) -> Asked | None:
        """What is to be asked to show the part under the mouse; None where it is shown."""
        if self.pointed is None or self.answers(self.hover, (self.pointed,)):
            return None
        return self._about((self.pointed,), None)

    @property
    def rough(self) -> Asked | None:
        """What is to be asked to look closely at a small part, which takes long; None where it was done."""
        small = next((each for each in self.previews if each.answer.wants_zoom), None)
        return None if small is None else Asked(small.clicks, self.choice.size, True, small.answer.prior)

    def uncut(self, snapping: Snapping, strength: float | None) -> Preview | None:
        """The preview whose border is to be cut next."""
        return next((each for each in self.previews if snapping.wants(each, strength)), None)

    def answers(self, preview: Preview | None, clicks: tuple[Click, ...]) -> bool:
        """Whether `preview` is what the network says to these clicks and to the size that is meant."""
        return preview is not None and preview.clicks == clicks and preview.answer.size == self.choice.size

    def set_clicks(self, clicks: Sequence[Click]) -> None:
        """Other clicks; without a positive one there are none."""
        self.clicks = tuple(clicks) if any(click.positive for click in clicks) else ()
        if not self.clicks:
            self.preview = self.twin = None
        elif self.hover is not None and self.hover.clicks == self.clicks:
            self.preview = self.hover  # what is clicked was asked for while the mouse was over it

    def begin_again(self, part: Accepted) -> None:
        """Have the clicks of a part that is not written."""
        self.target, self.clicks, self.preview = part.target, part.preview.clicks, part.preview
        self.choice = Choice(size=part.preview.answer.size)

    def clear(self) -> None:
        """The next part can begin."""
        self.clicks, self.preview, self.twin, self.hover = (), None, None, None
        self.target, self.choice = None, Choice()

    def choose(self, choice: Choice) -> None:
        """Take another of the candidates."""
        self.choice = choice
        for name in ("preview", "twin", "hover"):
            shown = getattr(self, name)
            if shown is not None:
                setattr(self, name, self._chosen(shown.answer))

    def take(self, answer: PartAnswer) -> bool:
        """Show what the network says; False where nobody wants to know it any more."""
        asked, taken = answer.asked, answer.read(self.map)
        count = len(asked.clicks)
        if self.clicks and self.clicks[:count] == asked.clicks:
            self.preview = self._chosen(taken)
        elif self.clicks and mirrored(self.clicks)[:count] == asked.clicks:
            self.twin = self._chosen(taken)
        elif not self.clicks and self.pointed is not None and count == 1:
            found = self._chosen(taken)
            if asked.clicks != (self.pointed,) and not found.contains(self.pointed):
                return False  # the mouse has moved on to another part
            self.hover = found
        else:
            return False
        return True

    def take_cut(self, answer: CutAnswer) -> None:
        """Show the cut border."""
        rough, refined = answer.rough, cut_polygons(self._source, answer.result)
        if rough is self.preview:
            self.preview = snapped(rough, refined)
        elif rough is self.twin:
            self.twin = snapped(rough, refined)

    def _about(self, clicks: tuple[Click, ...], before: Preview | None) -> Asked:
        return Asked(clicks, self.choice.size, False, prior_of(clicks, before))

    def _chosen(self, answer: Answer) -> Preview:
        candidate = self.choice.pick(answer.best, answer.shares, asked=answer.size)
        probability = self.map.probability(answer.logits[candidate])
        return Preview(answer, candidate, probability, obey_clicks(probability > 0.5, answer.clicks))
