# SPDX-License-Identifier: GPL-3.0-or-later
"""Open measurement: interactive, automatic and parts protocols, baselines, reports and picture sheets."""

from typing import Literal

BASELINES = ("components", "kmeans", "agglomerative")
"""Names of the baselines; the last two cluster a model's field."""

Half = Literal["fit", "report", "all"]
HALVES: tuple[Half, ...] = ("fit", "report", "all")
"""Of the validation sources: the half that settings are fitted on, the half that is reported, or both."""
