# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that several modules of the add-on share."""

from __future__ import annotations

from pathlib import Path

EXTENSION = __package__.rpartition(".")[0]
"""The extension's own package, `bl_ext.<repository>.partsam`: the key of its preferences."""

EXTENSION_FOLDER = Path(__file__).resolve().parent.parent
"""Where the extension is installed (read-only, wiped by updates): `backend` lies beside us."""

TAB = "PartSAM"
"""Sidebar tab of the 3D viewport."""

PYTHON_VARIABLE = "PARTSAM_BACKEND_PYTHON"
"""Environment variable that names the backend's Python; it wins over the preferences."""

MODEL_VARIABLE = "PARTSAM_MODEL"
"""Environment variable that names the model (or a weights file); it wins over the preferences."""

WAITED_FACES = 20_000
"""Up to this many faces the calculations of an operator are waited for; above, they run in the background."""

LIVE_REFINE_FACES = 100_000
"""Up to this many faces the refinement follows its slider; above, it runs when asked for."""

PART_ATTRIBUTE = "partsam_part"
"""Face attribute (int) that gives every polygon the id of its part; 0 is no part."""

GROUP_PROPERTY = "partsam_group"
"""Custom property of all objects that one separation made: the same for all of them, unlike any other."""

LISTENER = "PARTSAM_OT_watch_input"
"""The modal operator that only listens, as `WindowManager` names it."""
