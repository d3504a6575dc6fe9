# SPDX-License-Identifier: GPL-3.0-or-later
"""From event to drawing: how quick the click tool is in a real window, by size of the mesh.

    python dev.py build --plain && python tests/window/benchmark_clicks.py [--cuts 0 1 3 10]

`cuts` subdivide each edge of one mesh of 5,988 faces: 0, 1, 3 and 10 give 6,000, 24,000, 96,000 and 725,000.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from blender_window import install, play_scenario

ACTIONS = ("redraw", "hover", "click", "second click", "accept")
HEAD = (
    "| faces | | s | in redraws | Blender, CPU s | backend, CPU s | longest stop, s |",
    "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cuts", type=int, nargs="+", default=[0, 1, 3, 10])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        profile, output = Path(folder, "profile"), Path(folder, "output")
        profile.mkdir()
        output.mkdir()
        install(profile)
        cuts = json.dumps(options.cuts)
        record = play_scenario("click_speed", profile, output, seconds=1500, PARTSAM_CLICK_CUTS=cuts)
    print("\n".join([*HEAD, *(line for size in record.get("sizes", ()) for line in lines_of(size))]))
    for size in record.get("sizes", ()):
        print(sentence(size))
    assert record["error"] is None, record["error"]


def lines_of(size: dict[str, Any]) -> list[str]:
    """The table's lines for one size; medians."""
    lines = []
    for action in ACTIONS:
        if not size.get(action):
            continue
        wall, thread, _process, backend, stop = (
            statistics.median(each) for each in zip(*size[action], strict=True)
        )
        in_redraws = wall / statistics.median(each[0] for each in size["redraw"])
        lines.append(
            f"| {size['faces']:,} | {action} | {wall:.2f} | {in_redraws:.1f} | {thread:.3f} | {backend:.2f} "
            f"| {stop:.2f} |"
        )
    return lines


def sentence(size: dict[str, Any]) -> str:
    """What a size has besides the table."""
    return (
        f"{size['faces']:,} faces: prepared {size['preparing']:.1f} s after the start, Blender stood "
        f"still then for {size['preparing_stop']:.2f} s at most (redraws included) and the start itself took "
        f"{size['start']:.3f} s; a moving mouse shows {size.get('hovers', 0):.1f} parts a second"
    )


if __name__ == "__main__":
    main()
