# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts for texturing: UV islands per part, and a picture of the parts in UV space."""
