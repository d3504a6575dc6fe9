# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts as objects of their own: topology, layers, shape keys, place in scene and hierarchy."""
