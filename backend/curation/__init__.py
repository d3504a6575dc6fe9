# SPDX-License-Identifier: GPL-3.0-or-later
"""From a folder of mesh files to shards of labelled shapes, by the published two stages.

`stage_one` labels what artists already separated, `stage_two` finds parts in over-fragmented assets with
the model in the loop, `pipeline` runs both over a folder.
"""

from .pipeline import CurationReport, CurationSettings, curate
from .stage_one import Rejected, StageOneRules, label_scene
from .stage_two import StageTwoRules, label_fragmented

__all__ = [
    "CurationReport",
    "CurationSettings",
    "Rejected",
    "StageOneRules",
    "StageTwoRules",
    "curate",
    "label_fragmented",
    "label_scene",
]
