# SPDX-License-Identifier: GPL-3.0-or-later
"""What parts become. One module per target: its operator and a `TARGET` that describes it.

A new target is a new module here; panels, menus and the table in the docs follow.
"""

from __future__ import annotations

import importlib
import pkgutil

from .target import Section, Target

SECTIONS: dict[Section, str] = {
    "APPLY": "Apply Parts",
    "RIG": "Rig",
    "TEXTURE": "Retexture",
    "REPAIR": "Repair",
}
"""The sections in their order, and what they are called."""


def _find_targets() -> list[Target]:
    modules = [
        importlib.import_module(f"{__name__}.{entry.name}") for entry in pkgutil.iter_modules(__path__)
    ]
    found = [module.TARGET for module in modules if hasattr(module, "TARGET")]
    return sorted(found, key=lambda target: (list(SECTIONS).index(target.section), target.order))


TARGETS = _find_targets()
"""All targets, section by section."""

classes: tuple[type, ...] = tuple(target.operator for target in TARGETS)


def targets_of(section: Section) -> list[Target]:
    """The targets of a section, in the order of its buttons."""
    return [target for target in TARGETS if target.section == section]
