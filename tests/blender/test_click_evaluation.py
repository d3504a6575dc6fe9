# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's clicks reach what the backend's evaluation of the same clicks reaches."""

from __future__ import annotations

import subprocess

import bpy
import numpy as np
import pytest
from meshes import add_object
from segmenting import BACKEND_PYTHON, ROOT, needs_backend, tick_until, use_real_backend


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """See tests/simulated_clicks.py."""
    path = tmp_path_factory.mktemp("clicks") / "clicks.npz"
    subprocess.run([BACKEND_PYTHON, "-m", "tests.simulated_clicks", path], cwd=ROOT, check=True)
    with np.load(path) as stored:
        return dict(stored)


@pytest.fixture
def obj(evaluated, addon, monkeypatch):
    """The evaluated mesh, twice as large."""
    use_real_backend(monkeypatch)
    obj = add_object("known", evaluated["vertices"].tolist(), evaluated["triangles"].tolist())
    obj.scale = (2, 2, 2)
    bpy.context.view_layer.update()
    yield obj
    addon("session").get_session().end_clicks()


@needs_backend
def test_the_click_tool_reaches_the_ious_of_the_evaluation(obj, addon, evaluated):
    session, Click = addon("session").get_session(), addon("click_tool.prompts").Click
    work, _picker = addon("click_tool.operator").begin_work(bpy.context, obj)
    session.watch(work.poll)
    work.prepare(seed=0)
    masks, ious = np.zeros_like(evaluated["masks"]), np.zeros_like(evaluated["ious"])
    for part, targets in enumerate(evaluated["targets"]):
        clicks = [
            Click(tuple(place), int(face), bool(sign))
            for place, face, sign in zip(
                *(evaluated[name][part] for name in ("places", "faces", "positive")), strict=True
            )
        ]
        for column, count in enumerate((1, len(clicks))):
            work.restart(None)
            for step, click in enumerate(clicks[:count]):
                work.add(click)
                tick_until(session, lambda: not work.is_thinking or work.error is not None)
                assert work.error is None
                masks[part, step] = work.preview.probability > 0.5
            work.accept()
            tick_until(session, lambda: not work.is_accepting or work.error is not None)
            accepted = work.accepted.pop().polygons  # the evaluation looks at each part by itself
            inside = accepted[evaluated["point_faces"]]
            ious[part, column] = (inside & targets).sum() / (inside | targets).sum()
    assert (masks == evaluated["masks"]).all()
    assert ious == pytest.approx(evaluated["ious"], abs=0.01)


@needs_backend
def test_scripts_get_the_masks_of_the_network(obj, addon, evaluated):
    predict = addon("api").predict
    for part, places in enumerate(evaluated["places"]):
        assert (predict(obj, 2 * places[:1], [1]).polygons == evaluated["masks"][part, 0]).all()
