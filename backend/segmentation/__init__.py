# SPDX-License-Identifier: GPL-3.0-or-later
"""From decoded masks to parts: filtering, the part tree behind the granularity slider, labels."""

from .encoded_shape import EncodedShape, PromptDecoder
from .every_part import EveryPartSettings
from .part_tree import TreeSettings
from .parts import Parts

__all__ = ["EncodedShape", "EveryPartSettings", "Parts", "PromptDecoder", "TreeSettings"]
