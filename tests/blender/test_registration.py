# SPDX-License-Identifier: GPL-3.0-or-later
"""Enabling and disabling the extension leaves nothing behind; its manifest and texts are in order."""

from __future__ import annotations

import sys
import threading
import tomllib
from pathlib import Path

import addon_utils
import bpy
import pytest
from conftest import PACKAGE, ROOT

OPERATORS = ("segment", "split_part", "cut", "cancel", "click_part", "restart_backend", "check", "set_up")


@pytest.fixture
def registered():
    """Enabled again at the end, whatever the test did."""
    yield
    if not addon_utils.check(PACKAGE)[1]:
        assert addon_utils.enable(PACKAGE, default_set=True) is not None


def blender_types() -> set[str]:
    return {name for name in dir(bpy.types) if name.startswith("PARTSAM_")}


def handlers() -> list[object]:
    lists = [getattr(bpy.app.handlers, name) for name in dir(bpy.app.handlers)]
    functions = [function for entry in lists if isinstance(entry, list) for function in entry]
    return [function for function in functions if PACKAGE in getattr(function, "__module__", "")]


def test_everything_is_registered():
    assert PACKAGE in sys.modules
    assert {"PARTSAM_PT_main", "PARTSAM_PT_parts", "PARTSAM_UL_parts", "PARTSAM_MT_parts"} <= blender_types()
    for name in OPERATORS:
        assert getattr(bpy.ops.partsam, name).get_rna_type().description, name
    assert bpy.context.scene.partsam.prompts > 0
    assert bpy.context.window_manager.partsam.granularity == pytest.approx(0.5)
    assert handlers()


def test_disabling_leaves_nothing_and_enabling_works_again(registered):
    before = {name for name in blender_types() if "_OT_step_" not in name}  # those are made when needed
    addon_utils.disable(PACKAGE, default_set=True)
    assert blender_types() == set()
    assert handlers() == []
    assert not hasattr(bpy.types.Scene, "partsam")
    assert not hasattr(bpy.types.WindowManager, "partsam")
    assert not hasattr(bpy.types.Mesh, "partsam")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("partsam")]
    assert addon_utils.enable(PACKAGE, default_set=True) is not None
    assert blender_types() == before


def test_registering_starts_no_process(registered, addon):
    addon_utils.disable(PACKAGE, default_set=True)
    addon_utils.enable(PACKAGE, default_set=True)
    assert addon("session").get_session().backend is None
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("partsam")]


def test_every_operator_and_property_says_what_it_does():
    for name in dir(bpy.ops.partsam):
        kind = getattr(bpy.ops.partsam, name).get_rna_type()
        assert kind.name and kind.description, name
        for key, entry in kind.properties.items():
            assert key == "rna_type" or entry.description, f"{name}.{key}"


def test_settings_are_saved_with_the_scene_and_sliders_are_not(tmp_path):
    bpy.context.scene.partsam.prompts = 77
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "settings.blend"))
    bpy.context.scene.partsam.prompts = 5
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "settings.blend"))
    assert bpy.context.scene.partsam.prompts == 77


def test_manifest_follows_blenders_rules():
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert manifest["id"] == "partsam"
    assert manifest["blender_version_min"] == "4.2.0"
    assert manifest["license"] == ["SPDX:GPL-3.0-or-later"]
    texts = [manifest["tagline"], *manifest["permissions"].values()]
    assert all(len(text) <= 64 and text[-1].isalnum() for text in texts)
    assert set(manifest["permissions"]) == {"files", "network", "clipboard"}


def test_without_an_environment_the_message_says_what_to_do(monkeypatch):
    monkeypatch.delenv("PARTSAM_BACKEND_PYTHON", raising=False)
    bpy.ops.mesh.primitive_cube_add()
    with pytest.raises(RuntimeError, match="Set Up"):
        bpy.ops.partsam.segment()
    assert "partsam_part" not in bpy.context.object.data.attributes


def test_a_python_that_does_not_exist_is_named(monkeypatch):
    missing = Path("/nowhere/python")
    monkeypatch.setenv("PARTSAM_BACKEND_PYTHON", str(missing))
    bpy.ops.mesh.primitive_cube_add()
    with pytest.raises(RuntimeError, match="nowhere"):
        bpy.ops.partsam.segment()


def test_a_model_file_that_does_not_exist_is_named(monkeypatch):
    monkeypatch.setenv("PARTSAM_BACKEND_PYTHON", sys.executable)
    monkeypatch.delenv("PARTSAM_MODEL", raising=False)
    chosen = bpy.context.preferences.addons[PACKAGE].preferences
    chosen.model_source, chosen.model_path = "FILE", "/nowhere/weights.safetensors"
    bpy.ops.mesh.primitive_cube_add()
    try:
        with pytest.raises(RuntimeError, match="weights"):
            bpy.ops.partsam.segment()
    finally:
        chosen.model_source, chosen.model_path = "BUNDLED", ""
