# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Python, model and device the backend uses: preferences, unless the environment says otherwise."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import bpy

from ...backend.errors import PartSAMError
from ..constants import EXTENSION, EXTENSION_FOLDER, MODEL_VARIABLE, PYTHON_VARIABLE
from ..environment import BackendPython, EnvironmentFolder, blenders_own, machine_folder
from ..wording import say

BUNDLED_MODEL = "small"
NO_ENVIRONMENT = (
    "This zip of PartSAM comes without PyTorch: press Set Up, choose an existing Python in the preferences, "
    "or install the full zip"
)


@dataclass(frozen=True)
class Choices:
    """What the user chose.

    python: what runs the backend
    model: name of a bundled model, or a weights file
    device: "auto", or one of the backend's device names
    idle_release_seconds: after so long without work the backend gives memory back; 0 for never
    """

    python: BackendPython
    model: str
    device: str
    idle_release_seconds: float


def preferences() -> bpy.types.AddonPreferences:
    """The add-on's preferences."""
    return bpy.context.preferences.addons[EXTENSION].preferences


def working_folder() -> Path:
    """The add-on's writable folder, which survives updates: logs, temporary files."""
    return Path(bpy.utils.extension_path_user(EXTENSION, path="", create=True))


def environment_folder() -> EnvironmentFolder:
    """Where Set Up makes environments, for all versions of Blender on this machine."""
    return EnvironmentFolder(Path(machine_folder()))


def models_folder() -> Path:
    """Where imported models are kept: beside the environments, so that they survive updates."""
    return environment_folder().root.parent / "models"


def chosen_python() -> BackendPython | None:
    """What runs the backend: what the user named, what Set Up made, or Blender's own Python with the wheels
    of the full zip. None where there is none of these.
    """
    named = os.environ.get(PYTHON_VARIABLE) or preferences().python_path
    if named:
        return BackendPython(Path(bpy.path.abspath(named)))
    made = environment_folder().python()
    return blenders_own() if made is None else BackendPython(made)


def chosen_model() -> str:
    """Name or file of the model. Raises PartSAMError where a file was chosen that does not exist."""
    if named := os.environ.get(MODEL_VARIABLE):
        return named
    chosen = preferences()
    if chosen.model_source == "BUNDLED":
        return BUNDLED_MODEL
    path = Path(bpy.path.abspath(chosen.model_path))
    if not chosen.model_path or not path.is_file():
        raise PartSAMError(
            say("the model file {path!r} does not exist; choose one in the preferences", path=str(path))
        )
    return str(path)


def model_file() -> Path:
    """The weights file of the chosen model. Raises PartSAMError where there is none."""
    model = chosen_model()
    path = Path(model)
    if path.suffix != ".safetensors":
        path = EXTENSION_FOLDER / "backend" / "models" / f"{model}.safetensors"
    if not path.is_file():
        raise PartSAMError(
            say(
                "the model {model!r} is not in this installation; choose a file or install again", model=model
            )
        )
    return path


def read_choices() -> Choices:
    """All choices at once. Raises PartSAMError, with what to do, where something is missing."""
    python = chosen_python()
    if python is None:
        raise PartSAMError(NO_ENVIRONMENT)
    chosen = preferences()
    return Choices(
        python=python,
        model=chosen_model(),
        device=chosen.device.lower(),
        idle_release_seconds=60.0 * chosen.idle_minutes,
    )
