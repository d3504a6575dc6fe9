# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of large meshes beside Blender: as at once, in one undo step, with Cancel, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from mathutils import Matrix
from meshes import grid

Addon = Callable[[str], ModuleType]

OPTIONS: dict[str, dict[str, Any]] = {
    "to_vertex_groups.PARTSAM_OT_apply_vertex_groups": {"falloff": 0.2},
    "to_armature.PARTSAM_OT_apply_armature": {
        "root": 0,
        "rule": "AUTO",
        "smallest": 0.0,
        "falloff": 0.1,
        "name_sides": True,
        "beside": False,
    },
    "bake_id_map.PARTSAM_OT_apply_id_map": {"size": 32, "margin": 2},
    "unwrap_parts.PARTSAM_OT_apply_unwrap": {"method": "SMART", "margin": 0.01, "uv_map": "NEW"},
    "remove_interior.PARTSAM_OT_remove_interior": {"action": "SELECT", "rays": 16, "openness": 0.0},
}


@pytest.fixture
def session(addon: Addon, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    session = addon("session").get_session()
    monkeypatch.delattr(type(session), "open_backend")  # no network is needed
    yield session
    session.problem = None


def begin(addon: Addon, target: str) -> bpy.types.Object:
    """Start a target in the background, as its dialog does."""
    obj = grid(8, name="sheet")
    addon("parts").write_labels(obj.data, np.arange(64) // 16)
    bpy.ops.ed.undo_push(message="sheet")
    begin_again(addon, target, obj)
    return obj


def begin_again(addon: Addon, target: str, obj: bpy.types.Object, *further: Any) -> None:
    """further: what else is planned"""
    calculating: ModuleType = addon("targets.calculating")
    plan = operator(addon, target).plan(SimpleNamespace(**OPTIONS[target]), bpy.context, obj)
    calculating.start_planned("Working", "Made", [calculating.Planned.of(obj, plan), *further])


def operator(addon: Addon, target: str) -> Any:
    module, _, name = target.partition(".")
    return getattr(addon(f"targets.{module}"), name)


def finish(session: Any) -> None:
    while session.is_busy:
        session.tick()


def made(obj: bpy.types.Object) -> list[Any]:
    """Everything that one of the targets makes."""
    weights = [[(entry.group, round(entry.weight, 6)) for entry in v.groups] for v in obj.data.vertices]
    maps = {
        layer.name: np.round([entry.vector[:] for entry in layer.uv], 5).tolist()
        for layer in obj.data.uv_layers
    }
    bones = [
        (bone.name, *np.round([*bone.head_local, *bone.tail_local], 5).tolist())
        for armature in bpy.data.armatures
        for bone in armature.bones
    ]
    images = {image.name: list(image.pixels) for image in bpy.data.images}
    return [weights, bones, maps, images, [polygon.select for polygon in obj.data.polygons]]


@pytest.mark.parametrize("target", OPTIONS)
def test_the_same_beside_blender_and_at_once(addon: Addon, session: Any, target: str) -> None:
    obj = begin(addon, target)
    assert session.is_busy
    before = made(obj)
    finish(session)
    assert session.problem is None and len(session.notices) == 1, session.problem
    beside = made(bpy.data.objects["sheet"])
    assert beside != before or "interior" in target
    bpy.ops.ed.undo()
    assert not session.notices  # of what is taken back
    obj = bpy.data.objects["sheet"]
    assert made(obj) == before
    getattr(bpy.ops.partsam, operator(addon, target).bl_idname.partition(".")[2])(**OPTIONS[target])
    assert made(obj) == beside


@pytest.mark.parametrize("target", OPTIONS)
def test_nothing_is_made_when_cancelled_or_changed_meanwhile(addon: Addon, session: Any, target: str) -> None:
    obj = begin(addon, target)
    before = made(obj)
    session.cancel()
    finish(session)
    assert session.problem is None and session.notices == ("Cancelled; nothing was changed",)
    begin_again(addon, target, obj)
    obj.data.vertices[0].co.x += 0.5
    finish(session)
    assert "edited meanwhile" in session.problem.message
    begin_again(addon, target, obj)
    addon("parts").merge_parts(obj.data, 1, 2)
    finish(session)
    assert "changed meanwhile" in session.problem.message
    assert made(obj) == before


def test_weights_painted_while_they_are_read_are_kept(
    addon: Addon, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = "to_vertex_groups.PARTSAM_OT_apply_vertex_groups"
    monkeypatch.setattr(addon("targets.own_groups"), "_VERTICES_A_TICK", 20)
    obj = begin(addon, target)
    finish(session)
    begin_again(addon, target, obj)
    pauses: list[Any] = []
    while session.is_busy:
        session.tick()
        job = None if session.run is None else session.run.job
        if type(job).__name__ == "Pause" and job not in pauses:
            pauses.append(job)
            if len(pauses) == 3:
                obj.vertex_groups[0].add([0], 0.25, "REPLACE")
                obj.data.update()
                bpy.context.view_layer.update()
    assert len(pauses) > 8  # 81 vertices take 5, and it began again
    assert any("painted by hand" in notice for notice in session.notices)
    assert obj.data.vertices[0].groups[0].weight == 0.25


def test_groups_changed_while_another_object_is_calculated_are_kept(
    addon: Addon, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = "to_vertex_groups.PARTSAM_OT_apply_vertex_groups"
    obj = begin(addon, target)
    finish(session)
    monkeypatch.setitem(OPTIONS, target, {"falloff": 0.3})

    def change() -> Iterator[Any]:
        obj.vertex_groups["Part 1"].add([0], 0.25, "REPLACE")
        obj.vertex_groups["Part 2"].name = "mine"
        obj.vertex_groups.remove(obj.vertex_groups["Part 3"])
        bpy.context.view_layer.update()
        yield addon("session.flow").Pause("others")

    plan = addon("targets.apply_operator").Plan(change(), lambda *_: "")
    begin_again(addon, target, obj, addon("targets.calculating").Planned.of(grid(8, name="other"), plan))
    finish(session)
    assert session.problem is None, session.problem
    assert any("painted by hand, left as they are: Part 1" in notice for notice in session.notices)
    assert obj.data.vertices[0].groups[0].weight == 0.25
    assert [group.name for group in obj.vertex_groups] == ["Part 1", "mine", "Part 4", "Part 2", "Part 3"]


def test_an_object_turned_while_its_bones_are_laid(addon: Addon, session: Any) -> None:
    target = "to_armature.PARTSAM_OT_apply_armature"
    obj = begin(addon, target)
    finish(session)
    (armature,) = [other for other in bpy.data.objects if other.type == "ARMATURE"]
    before = made(obj)
    begin_again(addon, target, obj)
    armature.matrix_world = Matrix.Rotation(1.0, 4, "Z")  # the mesh is its child and comes along
    bpy.context.view_layer.update()
    finish(session)
    assert session.problem is None and made(obj) == before
    begin_again(addon, target, obj)
    obj.location.x += 2
    bpy.context.view_layer.update()
    finish(session)
    moved = [(bone[0], round(bone[1] - 2, 4), *np.round(bone[2:4], 4)) for bone in made(obj)[1]]
    assert moved == [(bone[0], *np.round(bone[1:4], 4)) for bone in before[1]]


def test_who_poses_while_bones_are_laid_goes_on_posing(addon: Addon, session: Any) -> None:
    target = "to_armature.PARTSAM_OT_apply_armature"
    obj = begin(addon, target)
    finish(session)
    (armature,) = [other for other in bpy.data.objects if other.type == "ARMATURE"]
    bones = [bone.name for bone in armature.data.bones]
    for mode in ("POSE", "EDIT"):
        begin_again(addon, target, obj)
        bpy.context.view_layer.objects.active = armature
        bpy.ops.object.mode_set(mode=mode)
        finish(session)
        assert session.problem is None
        assert (bpy.context.object, armature.mode, obj.mode) == (armature, mode, "OBJECT")
        bpy.ops.object.mode_set(mode="OBJECT")
        assert [bone.name for bone in armature.data.bones] == bones


def test_an_object_renamed_or_deleted_while_its_bones_are_laid(addon: Addon, session: Any) -> None:
    target = "to_armature.PARTSAM_OT_apply_armature"
    obj = begin(addon, target)
    obj.name = "other"
    finish(session)
    assert session.problem is None and obj.find_armature().name == "other Armature"
    begin_again(addon, target, obj)
    before = len(bpy.data.objects)
    bpy.data.objects.remove(obj)
    finish(session)
    assert "deleted meanwhile" in session.problem.message and len(bpy.data.objects) == before - 1


def test_no_place_for_uvs_any_more(addon: Addon, session: Any) -> None:
    obj = begin(addon, "unwrap_parts.PARTSAM_OT_apply_unwrap")
    while len(obj.data.uv_layers) < 8:
        obj.data.uv_layers.new()
    finish(session)
    assert "has 8 UV maps" in session.problem.message
    assert not any(edge.use_seam for edge in obj.data.edges)


@pytest.mark.parametrize("change", ["uvs", "seams", "another map"])
@pytest.mark.parametrize("target", ["id_map", "unwrap"])
def test_uvs_and_seams_that_were_changed_meanwhile(
    addon: Addon, session: Any, monkeypatch: pytest.MonkeyPatch, target: str, change: str
) -> None:
    name = next(name for name in OPTIONS if name.endswith(target))
    if target == "unwrap":
        monkeypatch.setitem(OPTIONS, name, {"method": "ANGLE_BASED", "margin": 0.01, "uv_map": "ACTIVE"})
    obj = begin(addon, name)
    session.cancel()
    finish(session)
    obj.data.uv_layers.new(name="other")
    obj.data.uv_layers.active_index = 0
    begin_again(addon, name, obj)
    if change == "uvs":
        obj.data.uv_layers.active.uv[0].vector = (0.25, 0.5)
    elif change == "seams":
        obj.data.edges[0].use_seam = True
    else:
        obj.data.uv_layers.active_index = 1
    before = made(obj)
    finish(session)
    if target == "id_map" and change != "uvs":  # of the map that was active as it was started
        assert session.problem is None and made(obj) != before
    else:
        assert session.problem.message.endswith("start again"), session.problem
        assert made(obj) == before


def test_not_every_face_is_deleted(addon: Addon, session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target = "remove_interior.PARTSAM_OT_remove_interior"
    monkeypatch.setitem(OPTIONS, target, {"action": "DELETE", "rays": 16, "openness": 1.0})
    obj = begin(addon, target)
    finish(session)
    assert "Every face" in session.problem.message and len(obj.data.polygons) == 64


def test_cancel_before_the_work_of_the_redo_panel_begins(session: Any) -> None:
    begun: list[bool] = []
    session.again.want(lambda: begun.append(True))
    assert bpy.ops.partsam.cancel() == {"FINISHED"}
    while session.tick():
        pass
    assert not begun and session.notices == ("Cancelled; nothing was changed",)
    assert not bpy.ops.partsam.cancel.poll()
