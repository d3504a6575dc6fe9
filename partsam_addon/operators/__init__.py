# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators `bpy.ops.partsam.*`: thin, over functions that scripts can call as well."""
