# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scripting page promises exists, and what exists for scripts is on the page."""

from __future__ import annotations

import re

import bpy
import numpy as np
import pytest
from meshes import grid

WINDOW_ONLY = {
    "cancel",
    "cancel_setup",
    "click_action",
    "check",
    "copy_report",
    "dismiss",
    "import_model",
    "open_log",
    "open_preferences",
    "remove_environment",
    "restart_backend",
    "set_up",
    "watch_input",
}
"""Operators for the panel's buttons and of the session itself, of no use in scripts."""

UNDO_STEPS = "step_"
"""How the operators begin that exist once an undo step with their label was pushed, as in another test."""


@pytest.fixture(scope="module")
def page(repository):
    return (repository / "docs" / "scripting.md").read_text(encoding="utf-8")


def test_every_operator_is_listed_with_its_properties(page):
    listed = {
        name: {argument.strip() for argument in arguments.split(",")} - {""}
        for row in page.splitlines()
        if row.startswith("| `")
        for name, arguments in re.findall(r"`(\w+)\(([^)]*)\)`", row)
    }
    existing = {name for name in dir(bpy.ops.partsam) if not name.startswith(("_", UNDO_STEPS))}
    assert set(listed) == existing - WINDOW_ONLY
    for name, arguments in listed.items():
        properties = getattr(bpy.ops.partsam, name).get_rna_type().properties.keys()
        assert arguments <= set(properties), name


def test_the_rows_of_targets_are_those_of_their_descriptors(page, addon):
    rows = [target.doc_row() for target in addon("targets").TARGETS]
    missing = [row for row in rows if row not in page.splitlines()]
    assert not missing, "docs/scripting.md lacks\n" + "\n".join(missing)


def test_every_function_exists(page, addon):
    rows = re.findall(r"^\| ((?:`[a-z_.]+`(?:, )?)+) \| ((?:`\w+`(?:, )?)+) \|$", page, re.MULTILINE)
    assert len(rows) > 5
    for modules, functions in rows:
        found = [addon(name) for name in re.findall(r"`([^`]+)`", modules)]
        for function in re.findall(r"`([^`]+)`", functions):
            assert any(callable(getattr(module, function, None)) for module in found), function


def test_labels_may_be_a_plain_list(addon):
    mesh = grid(4).data
    labels = [int(polygon.center.y > 0) for polygon in mesh.polygons]
    addon("parts").write_labels(mesh, labels)
    assert (addon("parts").read_part_ids(mesh) == np.repeat([1, 2], 8)).all()
    assert [part.confidence for part in mesh.partsam.parts] == [-1, -1]
