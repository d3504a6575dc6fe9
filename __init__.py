# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point of the Blender extension; everything else lives in `partsam_addon`."""

from .partsam_addon import register, unregister

__all__ = ["register", "unregister"]
