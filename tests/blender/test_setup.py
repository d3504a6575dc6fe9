# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences and operators about what runs the backend: reports, models of the user's, old environments."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import bpy
import pytest

SECONDS = 180.0
ROOT = Path(__file__).resolve().parents[2]
SMALL = ROOT / "backend" / "models" / "small.safetensors"


@pytest.fixture
def setup(addon: Callable[[str], ModuleType]) -> Iterator[object]:
    """The session's setup; preferences are put back."""
    chosen = addon("session.choices").preferences()
    before = {name: getattr(chosen, name) for name in ("model_source", "model_path", "python_path")}
    yield addon("session").get_session().setup
    for name, value in before.items():
        setattr(chosen, name, value)


def wait(setup: object) -> None:
    limit = time.monotonic() + SECONDS
    while setup.poll():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_a_model_of_the_users_is_tried_copied_and_chosen(setup, addon, tmp_path: Path) -> None:
    choices = addon("session.choices")
    (tmp_path / "mine.safetensors").write_bytes(SMALL.read_bytes()[:50_000])
    bpy.ops.partsam.import_model(filepath=str(tmp_path / "mine.safetensors"))
    wait(setup)
    assert "mine.safetensors was not imported" in setup.problem and "truncated" in setup.problem
    assert choices.preferences().model_source == "BUNDLED"

    (tmp_path / "mine.safetensors").write_bytes(SMALL.read_bytes())
    bpy.ops.partsam.import_model(filepath=str(tmp_path / "mine.safetensors"))
    wait(setup)
    assert setup.problem is None
    kept = choices.models_folder() / "mine.safetensors"
    assert choices.model_file() == kept and kept.read_bytes() == SMALL.read_bytes()
    assert kept.is_relative_to(os.environ["PARTSAM_FOLDER"]), "where updates of the extension do not reach"


def test_the_report_has_what_a_bug_report_needs(setup, addon) -> None:
    bpy.ops.partsam.check()
    wait(setup)
    text = addon("session.report").report_text(addon("session").get_session())
    for word in (bpy.app.version_string, "torch", "Device:", "Model:", os.environ["PARTSAM_BACKEND_PYTHON"]):
        assert word in text
    assert bpy.ops.partsam.copy_report() == {"FINISHED"}


def test_what_was_set_up_is_used_instead_of_a_python_chosen_before(setup, addon) -> None:
    chosen, session = addon("session.choices").preferences(), addon("session").get_session()
    session.notices = ()
    chosen.python_path = "/elsewhere/python"
    setup.use_environment()
    assert chosen.python_path == ""
    assert "/elsewhere/python" in session.notices[0]
    setup.use_environment()
    assert len(session.notices) == 1
    session.notices = ()


def test_an_environment_of_other_pins_is_noticed_and_can_be_removed(setup, addon, monkeypatch) -> None:
    choices, folders = addon("session.choices"), addon("environment.folder")
    assert not setup.is_outdated
    folder = choices.environment_folder()
    made = folder.begin()
    python = folders.interpreter_of(made)
    python.parent.mkdir()
    python.touch()
    folder.activate(made, addon("environment").REQUIREMENTS, torch="cu130")
    assert not setup.is_outdated
    pointer = folder.root / folders.POINTER
    pointer.write_text(json.dumps({**json.loads(pointer.read_text()), "requirements": "of another version"}))
    assert setup.is_outdated

    monkeypatch.delenv("PARTSAM_BACKEND_PYTHON")
    assert choices.chosen_python().path == python, "it is used for all that"
    bpy.ops.partsam.remove_environment()
    assert not made.exists() and choices.chosen_python() is None


def test_an_offline_folder_without_wheels_is_refused(setup, addon, tmp_path: Path) -> None:
    chosen = addon("session.choices").preferences()
    chosen.wheels_folder = str(tmp_path)
    try:
        assert bpy.ops.partsam.set_up.poll(), "no internet is needed for it"
        with pytest.raises(RuntimeError, match=r"no wheels in .*|uv is missing"):
            bpy.ops.partsam.set_up(cpu_only=True)
    finally:
        chosen.wheels_folder = ""
