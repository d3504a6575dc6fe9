# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts turned into what Blender works with: groups, materials, marks, objects."""
