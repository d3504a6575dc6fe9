# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client says about a part that it asks for, as values read from a `predict` request.

A new kind is a class here and one on the client's side, which writes what this one reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from . import fields
from .protocol import Message

if TYPE_CHECKING:
    from ..segmenter import MaskPrediction

Held = Callable[[str], "MaskPrediction | None"]
"""The earlier prediction of a name; None where it is no longer held."""


class Prompt(Protocol):
    """One thing that is said."""

    def arguments(self, held: Held) -> dict[str, Any]:
        """As keyword arguments of `Segmenter.predict`."""


@dataclass(frozen=True)
class Points:
    """positions: float [K, 3]; labels: int [K], 1 part of it, 0 not"""

    positions: NDArray
    labels: NDArray

    @staticmethod
    def read(message: Message) -> Points:
        positions = fields.array(message, "points", columns=3)
        return Points(positions, fields.array(message, "labels", integers=True))

    def arguments(self, held: Held) -> dict[str, Any]:
        return {"points": self.positions, "labels": self.labels}


@dataclass(frozen=True)
class Size:
    """share: of the surface, in (0, 1]; None: unknown"""

    share: float | None

    @staticmethod
    def read(message: Message) -> Size:
        return Size(fields.optional_number(message, "size", low=0.0, high=1.0) or None)

    def arguments(self, held: Held) -> dict[str, Any]:
        return {"size": self.share}


@dataclass(frozen=True)
class EarlierMask:
    """prediction: name of the one whose mask is to be refined; None: there is none"""

    prediction: str | None

    @staticmethod
    def read(message: Message) -> EarlierMask:
        return EarlierMask(fields.optional_text(message, "previous"))

    def arguments(self, held: Held) -> dict[str, Any]:
        return {"previous": None if self.prediction is None else held(self.prediction)}


KINDS: tuple[Callable[[Message], Prompt], ...] = (Points.read, Size.read, EarlierMask.read)


def read_prompts(message: Message) -> list[Prompt]:
    """All that `message` says. ProtocolError where something of it is wrong."""
    return [read(message) for read in KINDS]


def arguments_of(prompts: list[Prompt], held: Held) -> dict[str, Any]:
    """Keyword arguments of `Segmenter.predict`."""
    return {name: value for prompt in prompts for name, value in prompt.arguments(held).items()}
