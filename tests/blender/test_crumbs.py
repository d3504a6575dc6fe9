# SPDX-License-Identifier: GPL-3.0-or-later
"""No slivers are left beside a part that is cut out of others, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from meshes import grid

CELLS = 40


@pytest.fixture
def taking(addon):
    """What is taken of a labelled grid, bool [rows, columns], when `wanted` is asked for."""
    parts, crumbs = addon("parts"), addon("parts.crumbs")

    def take(labels, wanted, *, names=(), clicked=(), kept=(), inherits=True):
        mesh = grid(CELLS).data
        parts.write_labels(mesh, labels.ravel())
        for part, name in zip(mesh.partsam.parts, names, strict=False):
            part.name = name
        where = [[row * CELLS + column for row, column in places] for places in (clicked, kept)]
        taken = crumbs.without_crumbs(
            mesh, wanted.ravel(), clicked=where[0], kept=where[1], inherits=inherits
        )
        return taken.reshape(CELLS, CELLS)

    return take


def rows(*bounds):
    """Labels 0, 1, ... of the rows below each bound and above the last."""
    return np.repeat(np.digitize(np.arange(CELLS), bounds), CELLS).reshape(CELLS, CELLS)


def block(first, size):
    """A square at (first, first)."""
    inside = np.zeros((CELLS, CELLS), dtype=bool)
    inside[first : first + size, first : first + size] = True
    return inside


def test_a_strip_between_two_parts_comes_along(taking):
    labels, wanted = rows(21), rows(20) == 0
    assert (taking(labels, wanted) == (labels == 0)).all()
    assert (taking(labels, wanted, kept=[(20, 3)]) == wanted).all()  # it was clicked for another part


def test_what_is_no_strip_stays_a_hole_and_a_speck_does_not(taking):
    labels = rows(CELLS)
    for size, comes_along in ((6, False), (2, True)):
        hole = block(10, size) | block(25, 12)  # the large one is no crumb in either case
        wanted = ~hole
        assert (taking(labels, wanted) == (~block(25, 12) if comes_along else wanted)).all()
    assert (taking(labels, ~block(10, 2) & ~block(25, 12), kept=[(10, 10)])[10:12, 10:12] == 0).all()


def test_own_specks_stay_where_they_were_unless_they_were_clicked(taking):
    labels, speck = rows(20), block(30, 1)
    wanted = (rows(20) == 0) | speck
    assert (taking(labels, wanted) == (labels == 0)).all()
    assert (taking(labels, wanted, clicked=[(30, 30)]) == wanted).all()


def test_a_part_of_which_hardly_anything_is_left_is_replaced(taking):
    labels, wanted = rows(20), (rows(20) == 0) & ~block(5, 2)
    whole = labels == 0
    assert (taking(labels, wanted, names=["Coat"]) == whole).all()  # the new part takes over its name
    assert (taking(labels, wanted, inherits=False) == wanted).all()  # into a part that exists


def test_a_second_named_part_keeps_its_last_faces(taking):
    labels = rows(20, 30)
    last = block(24, 1)
    wanted = ((labels < 2) & ~last & ~block(5, 1)).astype(bool)
    assert (taking(labels, wanted, names=["Coat", "Belt"]) == (wanted | block(5, 1))).all()
    assert (taking(labels, wanted) == (labels < 2)).all()
