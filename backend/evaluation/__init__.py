# SPDX-License-Identifier: GPL-3.0-or-later
"""Open measurement: interactive and automatic protocols, baselines, reports and picture sheets."""

BASELINES = ("components", "kmeans", "agglomerative")
"""Names of the baselines; the last two cluster a model's field."""
