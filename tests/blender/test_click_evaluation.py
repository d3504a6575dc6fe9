# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's clicks reach what the backend's evaluation of the same clicks reaches.

With `PARTSAM_CLICK_SHAPES=FILE.npz.xz` it runs on ten shapes of that file instead of on one bundled mesh,
and prints what both reach.
"""

from __future__ import annotations

import os
import subprocess

import bpy
import numpy as np
import pytest
from meshes import add_object
from segmenting import BACKEND_PYTHON, ROOT, needs_backend, tick_until, use_real_backend

SHAPES = os.environ.get("PARTSAM_CLICK_SHAPES", "")
SOURCES = [(SHAPES, str(number)) for number in range(10)] if SHAPES else [()]


@pytest.fixture(scope="module", params=SOURCES, ids=lambda source: "-".join(source[1:]) or "bundled")
def evaluated(tmp_path_factory, request):
    """See tests/simulated_clicks.py."""
    path = tmp_path_factory.mktemp("clicks") / "clicks.npz"
    command = [BACKEND_PYTHON, "-m", "tests.simulated_clicks", path, *request.param]
    subprocess.run(command, cwd=ROOT, check=True)
    with np.load(path) as stored:
        return dict(stored)


@pytest.fixture
def obj(evaluated, addon, monkeypatch):
    """The evaluated mesh, twice as large."""
    use_real_backend(monkeypatch)
    # The evaluation answers without close-ups, too: how long a person waits decides which clicks get them.
    monkeypatch.setattr(addon("click_tool.masks"), "SMALL_ANSWER", 0.0)
    obj = add_object("known", evaluated["vertices"].tolist(), evaluated["triangles"].tolist())
    obj.scale = (2, 2, 2)
    bpy.context.view_layer.update()
    yield obj
    addon("session").get_session().end_clicks()


def iou(mask, target):
    return (mask & target).sum() / (mask | target).sum()


@needs_backend
def test_the_click_tool_reaches_the_ious_of_the_evaluation(obj, addon, evaluated):
    session, Click = addon("session").get_session(), addon("click_tool.prompts").Click
    work, _picker = addon("click_tool.operator").begin_work(bpy.context, obj)
    session.watch(work.poll)
    work.prepare(seed=0)
    masks = np.zeros_like(evaluated["masks"])
    ious, obedient = np.zeros_like(evaluated["ious"]), np.zeros_like(evaluated["ious"])
    for part, targets in enumerate(evaluated["targets"]):
        clicks = [
            Click(tuple(place), int(face), bool(sign))
            for place, face, sign in zip(
                *(evaluated[name][part] for name in ("places", "faces", "positive")), strict=True
            )
        ]
        for column, count in enumerate(evaluated["counts"].tolist()):
            work.restart(None)
            for step, click in enumerate(clicks[:count]):
                work.add(click)
                tick_until(session, lambda: not work.is_thinking or work.error is not None)
                assert work.error is None
                masks[part, step] = work.part.preview.probability > 0.5
            work.snapping.seconds = None  # however slow it was
            tick_until(session, lambda: work.part.preview.refined is not None)
            cut = work.part.preview.refined
            work.accept()
            tick_until(session, lambda: not work.is_accepting or work.error is not None)
            accepted = work.accepted.pop().polygons  # the evaluation looks at each part by itself
            ious[part, column] = iou(cut[evaluated["point_faces"]], targets)
            obedient[part, column] = iou(accepted[evaluated["point_faces"]], targets)
    if SHAPES:  # other roundings in batches of parts: the means count
        means = [found.mean(axis=0).round(4).tolist() for found in (evaluated["ious"], ious, obedient)]
        print(f"\n{len(ious)} parts: evaluation, add-on, and what was clicked put in: {means}")
        assert means[1] == pytest.approx(means[0], abs=0.01)
        return
    assert (masks == evaluated["masks"]).all()
    assert ious == pytest.approx(evaluated["ious"], abs=0.01)


@needs_backend
def test_scripts_get_the_masks_of_the_network(obj, addon, evaluated):
    predict = addon("api").predict
    for part, places in enumerate(evaluated["places"]):
        assert (predict(obj, 2 * places[:1], [1]).polygons == evaluated["masks"][part, 0]).all()
    offered = predict(obj, 2 * places[:1], [1], candidates=True)
    areas = [
        sum(obj.data.polygons[index].area for index in np.flatnonzero(each.polygons)) for each in offered
    ]
    assert len(offered) == 3
    assert areas == sorted(areas, reverse=True)
    assert any((each.polygons == evaluated["masks"][part, 0]).all() for each in offered)
