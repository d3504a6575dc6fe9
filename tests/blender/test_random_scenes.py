# SPDX-License-Identifier: GPL-3.0-or-later
"""Random sequences of our operators, undo, redo, mode changes, joins and saves on small random scenes.

After every step: no traceback, the table says of the faces what is true, and what is not ours is
unchanged. After half of the operators: undo and redo restore exactly. The network is replaced by random
part trees, which take the same way into the scene.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import secrets
from pathlib import Path

import bmesh
import bpy
import numpy as np
from conftest import PACKAGE
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from meshes import add_object, select_polygons

EXAMPLES = int(os.environ.get("PARTSAM_RANDOM_EXAMPLES", "13"))
"""Sequences of operators. A failing one is not made shorter, which would take minutes."""

STEPS = 40
PART_OPERATORS = {
    "part_select": {},
    "part_delete": {},
    "part_merge": {},
    "part_lock": {},
    "part_rename": {"name": "Nose"},
    "parts_check": {"action": "ALL"},
    "part_assign_selected": {},
    "part_new_from_selected": {},
    "parts_remove_small": {"share": 0.1},
    "parts_release": {},
    "parts_clear": {},
    "tree_drop": {},
    "part_isolate": {},
    "apply_materials": {},
    "apply_vertex_groups": {},
    "apply_face_sets": {},
    "apply_edge_marks": {},
    "apply_color_attribute": {},
    "apply_separate": {},
}
DERIVED = (".select_", ".hide_", ".partsam_hidden", ".partsam_origin", ".partsam_revision")
"""Face attributes that undo of a mode change, or the next operator, may make anew."""


def addon(name):
    return importlib.import_module(f"{PACKAGE}.partsam_addon.{name}")


def random_found(task, seed):
    """What the network might have found: a random part tree over the triangles of a task's only object."""
    random = np.random.default_rng(seed)
    parts, held, steps = addon("parts"), addon("session.held"), addon("session.find_parts")
    (source,) = task.shape.sources
    finest = random.integers(1, 6)
    atoms = random.integers(0, finest, source.triangle_count).astype(np.int32)
    labels = np.stack([np.minimum(np.arange(finest), most) for most in range(finest)]).astype(np.int32)
    tree = parts.PartTree(labels, random.random((finest, finest)).astype(np.float32))
    cut = parts.Cut(float(random.random()), None)
    of_atom, confidence = tree.cut(cut.granularity)
    everywhere = np.ones(source.triangle_count, dtype=bool)
    counted = parts.CountedTree.of(tree, atoms, task.shape.mesh.areas, everywhere, 0)
    return steps.Found(
        task,
        held.Held("none", source, 0, source.triangle_count),
        atoms,
        tree,
        dict.fromkeys((True, False), counted),
        cut,
        of_atom[atoms],
        confidence,
    )


class Scenes(RuleBasedStateMachine):
    """Meshes of a few faces, one of them a bystander that nobody selects."""

    @initialize(seed=st.integers(0, 2**16))
    def empty_file(self, seed):
        bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
        self.bystander = "bystander"
        obj = self.make(self.bystander, seed)
        obj.vertex_groups.new(name="Part 1").add([0, 1], 0.37, "REPLACE")
        obj.data.materials.append(bpy.data.materials.new("Part 1"))
        obj.data.uv_layers.new(name="UVMap")
        bpy.data.images.new("bystander Parts", 8, 8).use_fake_user = True
        obj.select_set(False)
        self.make("first", seed + 1)
        self.untouched = self.foreign()
        self.segmented(seed, False)

    def make(self, name, seed):
        """A strip or grid of quads, active and selected."""
        random = np.random.default_rng(seed)
        width, height = random.integers(1, 5, 2).tolist()
        points = [(x, y, 0.2 * random.random()) for y in range(height + 1) for x in range(width + 1)]
        corner = [(y * (width + 1) + x) for y in range(height) for x in range(width)]
        return add_object(name, points, [[i, i + 1, i + width + 2, i + width + 1] for i in corner])

    @property
    def meshes(self):
        layer = bpy.context.view_layer
        return [obj for obj in layer.objects if obj.type == "MESH" and obj.name != self.bystander]

    @rule(seed=st.integers(0, 2**16))
    def add(self, seed):
        if len(self.meshes) < 6:
            self.to_object_mode()
            self.make(f"mesh {seed}", seed)
            self.push()

    @rule(linked=st.booleans())
    def duplicate(self, linked):
        obj = bpy.context.object
        if obj is None or obj.type != "MESH" or len(self.meshes) >= 6:
            return
        self.to_object_mode()
        copy = obj.copy()
        if not linked:
            copy.data = obj.data.copy()
        bpy.context.scene.collection.objects.link(copy)
        self.push()

    @rule(chosen=st.integers(1, 63), active=st.integers(0, 5), edit=st.booleans())
    def select_objects(self, chosen, active, edit):
        if not (meshes := self.meshes):
            return
        self.to_object_mode()
        for index, obj in enumerate(meshes):
            obj.select_set(bool(chosen >> index & 1))
        bpy.context.view_layer.objects.active = meshes[active % len(meshes)]
        if edit and bpy.context.object.visible_get():
            bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="EDIT")

    @rule(seed=st.integers(0, 2**16))
    def select_faces(self, seed):
        obj = bpy.context.object
        if obj is None or obj.type != "MESH" or obj.data.is_editmode or not obj.data.polygons:
            return
        flags = np.random.default_rng(seed).random(len(obj.data.polygons)) < 0.4
        select_polygons(obj, np.flatnonzero(flags).tolist())
        self.push()

    @rule(seed=st.integers(0, 2**16), split=st.booleans())
    def segmented(self, seed, split):
        """Segment or Split Again, with another network."""
        obj, parts = bpy.context.object, addon("parts")
        active = parts.active_part(obj.data) if obj is not None and obj.type == "MESH" else None
        if obj is None or obj.type != "MESH" or (split and active is None):
            return

        def run():
            exchange, writing = addon("mesh_exchange"), addon("session.writing")
            within = ("partsam_part", active.part_id) if split else None
            reading = exchange.ReadSettings(within=within)
            title = active.name if split else ""
            (task,) = addon("session.reading").read_tasks(
                bpy.context, [obj], reading, title=title, keep_edits=not split
            )
            trees = addon("session").get_session().held
            change = writing.NewLevel(random_found(task, seed), trees)
            writing.write_changes(bpy.context, [change], undo_message="Segment")
            return {"FINISHED"}

        self.press(run, check_undo=False)

    @rule(name=st.sampled_from(sorted(PART_OPERATORS)), check_undo=st.booleans())
    def operate(self, name, check_undo):
        operator = getattr(bpy.ops.partsam, name)
        if operator.poll():
            self.press(lambda: operator("EXEC_DEFAULT", True, **PART_OPERATORS[name]), check_undo=check_undo)

    @rule(granularity=st.floats(0, 1), check_undo=st.booleans())
    def cut(self, granularity, check_undo):
        operator = bpy.ops.partsam.cut
        if operator.poll():
            self.press(
                lambda: operator("EXEC_DEFAULT", True, granularity=granularity, refine=False),
                check_undo=check_undo,
            )

    @rule(index=st.integers(0, 9), name=st.sampled_from(["Arm", "Part 2", "ä" * 40]))
    def rename(self, index, name):
        obj = bpy.context.object
        if obj is not None and obj.type == "MESH" and len(obj.data.partsam.parts):

            def run():
                table = bpy.context.object.data.partsam
                if not len(table.parts):  # their faces were deleted
                    return {"CANCELLED"}
                table.active_index = index % len(table.parts)
                table.parts[table.active_index].name = name
                self.push()
                return {"FINISHED"}

            self.press(run, check_undo=True)

    @rule(kind=st.sampled_from(["join", "subdivide", "delete", "mode"]))
    def edit(self, kind):
        obj = bpy.context.object
        if obj is None or obj.type != "MESH" or not obj.visible_get():
            return
        if kind == "join":
            self.to_object_mode()
            if obj.select_get() and len(bpy.context.selected_objects) > 1:
                self.join(obj)
        elif kind == "mode":
            bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="OBJECT" if obj.mode == "EDIT" else "EDIT")
        elif obj.mode == "EDIT" and len(obj.data.polygons) < 300:
            change = bpy.ops.mesh.subdivide if kind == "subdivide" else bpy.ops.mesh.delete
            change("EXEC_DEFAULT", True, **({} if kind == "subdivide" else {"type": "FACE"}))

    def join(self, obj):
        """Blender's join: every part of every object is a part afterwards, also of copies."""
        parts, joined = addon("parts"), [one for one in bpy.context.selected_objects if one.type == "MESH"]
        for one in joined:
            parts.bring_together(one.data)
        expected = sum(len(np.unique(parts.read_part_ids(one.data)).nonzero()[0]) for one in joined)
        bpy.ops.object.join("EXEC_DEFAULT", True)
        parts.bring_together(obj.data)
        assert len(obj.data.partsam.parts) == expected

    @rule(back=st.booleans())
    def undo_or_redo(self, back):
        operator = bpy.ops.ed.undo if back else bpy.ops.ed.redo
        if back and bpy.data.objects.get("first") is None and not self.meshes:
            return
        if operator.poll():
            operator()

    @rule()
    def save_and_load(self):
        self.to_object_mode()
        path = str(Path(os.environ["BLENDER_USER_RESOURCES"], "random.blend"))
        bpy.ops.wm.save_as_mainfile(filepath=path)
        bpy.ops.wm.open_mainfile(filepath=path)
        self.push()

    def press(self, run, *, check_undo):
        """Run an operator of ours: it finishes, or says why not and changes nothing."""
        for obj in self.meshes:
            if obj.data.is_editmode:
                addon("parts.undo").sync_edit_mesh(obj.data)
            else:
                addon("parts").bring_together(obj.data)
        self.push()
        before, modes = self.snapshot(), self.modes()
        try:
            result = run()
        except RuntimeError as error:
            assert "Traceback" not in str(error), error
            result = {"CANCELLED"}
        except addon("api").PartSAMError:
            result = {"CANCELLED"}
        after = self.snapshot()
        if result != {"FINISHED"}:
            assert after == before
            return
        self.check_tables()
        for name, mode in self.modes().items():
            hidden = not bpy.data.objects[name].visible_get()  # separated, so that it cannot be edited
            assert hidden or modes.get(name, mode) == mode
        # Blender's undo takes the others out of Edit mode where the active object was separated.
        edited = any(obj.data.is_editmode for obj in self.meshes)
        if check_undo and (bpy.context.mode == "EDIT_MESH" or not edited):
            bpy.ops.ed.undo()
            assert self.snapshot() == before
            bpy.ops.ed.redo()
            assert self.snapshot() == after

    def check_tables(self):
        for obj in self.meshes:
            if not obj.data.is_editmode and obj.data.partsam.origin:
                ids = addon("parts").read_part_ids(obj.data)
                if addon("parts.attributes").read_foreign(obj.data).any():
                    continue  # joined by Blender, and not looked at since
                present, counts = np.unique(ids[ids > 0], return_counts=True)
                table = {part.part_id: part.face_count for part in obj.data.partsam.parts}
                if obj.data.partsam.face_count == len(obj.data.polygons):
                    assert table == dict(zip(present.tolist(), counts.tolist(), strict=True))

    @invariant()
    def what_is_not_ours_is_unchanged(self):
        assert not hasattr(self, "untouched") or self.foreign() == self.untouched

    @invariant()
    def names_are_unique(self):
        for obj in self.meshes if hasattr(self, "bystander") else ():
            names = [part.name for part in obj.data.partsam.parts]
            assert len(names) == len(set(names))

    def foreign(self):
        obj = bpy.data.objects[self.bystander]
        weights = [[(g.group, g.weight) for g in vertex.groups] for vertex in obj.data.vertices]
        groups = [group.name for group in obj.vertex_groups]
        materials = [(slot.material.name, tuple(slot.material.diffuse_color)) for slot in obj.material_slots]
        image = bpy.data.images["bystander Parts"]
        return (mesh_state(obj), weights, groups, materials, tuple(image.size), len(obj.modifiers))

    def snapshot(self):
        return {
            obj.name: (mesh_state(obj), table_state(obj.data), [group.name for group in obj.vertex_groups])
            for obj in bpy.data.objects
            if obj.type == "MESH" and obj.name in bpy.context.view_layer.objects
        }

    def modes(self):
        return {obj.name: obj.mode for obj in self.meshes}

    def to_object_mode(self):
        if bpy.context.object is not None and bpy.context.object.mode != "OBJECT":
            bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="OBJECT")

    def push(self):
        bpy.ops.ed.undo_push(message="step")


def mesh_state(obj):
    """All that is stored for the elements of a mesh, hashed; of an edit mesh, the parts of its faces."""
    mesh = obj.data
    if mesh.is_editmode:
        edit_mesh = bmesh.from_edit_mesh(mesh)
        layer = edit_mesh.faces.layers.int.get("partsam_part")
        return [face[layer] if layer is not None else 0 for face in edit_mesh.faces]
    state = {}
    for attribute in mesh.attributes:
        if attribute.name.startswith(DERIVED) or not len(attribute.data):
            continue
        field = {"FLOAT_VECTOR": "vector", "FLOAT2": "vector", "FLOAT_COLOR": "color", "BYTE_COLOR": "color"}
        name = field.get(attribute.data_type, "value")
        if hasattr(attribute.data[0], name):
            values = [getattr(item, name) for item in attribute.data]
            values = [tuple(value) if hasattr(value, "__len__") else value for value in values]
            state[attribute.name] = hashlib.sha256(repr(values).encode()).hexdigest()[:12]
    return state


def table_state(mesh):
    """The table of parts and the levels of the cut."""
    table = mesh.partsam
    parts = [(p.part_id, p.name, p.locked, p.checked, p.by_hand, p.face_count, p.level) for p in table.parts]
    return parts, [(lv.number, lv.title, lv.granularity) for lv in table.levels if lv.face_count]


TestRandomScenes = seed(secrets.randbits(64))(Scenes).TestCase  # fresh ones, whatever else seeds `random`
TestRandomScenes.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    phases=[Phase.generate],
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
