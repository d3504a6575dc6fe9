# SPDX-License-Identifier: GPL-3.0-or-later
"""An armature from parts: their axes, their tree, mirrored pairs, bones and weights."""
