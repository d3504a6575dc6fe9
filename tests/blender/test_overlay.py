# SPDX-License-Identifier: GPL-3.0-or-later
"""What the overlay and the list show, as far as it needs no window."""

from __future__ import annotations

import numpy as np
import pytest


def test_triangles_are_grouped_by_part(addon):
    overlay = addon("view.overlay")
    triangles = np.arange(15).reshape(5, 3)
    groups = overlay.split_by_part(triangles, np.array([2, 0, 1, 2, 0]))
    assert {part: group.tolist() for part, group in groups.items()} == {
        0: [[3, 4, 5], [12, 13, 14]],
        1: [[6, 7, 8]],
        2: [[0, 1, 2], [9, 10, 11]],
    }


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (987, "987"),
        (1000, "1.0k"),
        (9949, "9.9k"),
        (12_345, "12k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (25_000_000, "25M"),
    ],
)
def test_face_counts_stay_short(addon, count, text):
    assert addon("ui.list_rows").compact_count(count) == text


def test_confidence_of_parts_made_by_hand_is_a_dash(addon):
    show = addon("ui.list_rows").confidence_text
    assert (show(0.826), show(-1.0)) == ("83%", "–")
