# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes with known parts, for training, evaluation and curation: shards, where they came from, packing."""
