# SPDX-License-Identifier: GPL-3.0-or-later
"""From decoded masks to parts: filtering, the part tree behind the granularity slider, labels."""

from .containment import ContainmentNode
from .encoded_shape import EncodedShape, PromptDecoder
from .every_part import EveryPartSettings
from .part_tree import TreeSettings
from .parts import Parts

__all__ = ["ContainmentNode", "EncodedShape", "EveryPartSettings", "Parts", "PromptDecoder", "TreeSettings"]
