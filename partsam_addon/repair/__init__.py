# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of generated meshes, and their mending."""
