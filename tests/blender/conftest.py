# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender as a Python module with the extension enabled from the source tree.

`BLENDER_USER_RESOURCES` must be set before `bpy` is imported, so this happens while pytest collects.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = "bl_ext.user_default.partsam"

_resources = Path(tempfile.mkdtemp(prefix="partsam-blender-"))
os.environ["BLENDER_USER_RESOURCES"] = str(_resources)
os.environ["PARTSAM_FOLDER"] = str(_resources / "machine")  # not this machine's own environments and models
(_resources / "extensions" / "user_default").mkdir(parents=True)
(_resources / "extensions" / "user_default" / "partsam").symlink_to(ROOT, target_is_directory=True)

import bpy  # noqa: E402, I001
import addon_utils  # noqa: E402 (can be found only once bpy is imported)

if addon_utils.enable(PACKAGE, default_set=True) is None:
    raise RuntimeError("the extension did not register; see the traceback above")


_status: list[int] = []


def pytest_sessionfinish(exitstatus: int) -> None:
    """Remember how the tests ended."""
    _status.append(int(exitstatus))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Leave nothing behind, and end at once.

    OpenVDB in Blender 4.5 waits for ever for a thread of its own when the module is torn down after a voxel
    remesh (its global state destroys a condition variable that the thread waits on).
    """
    addon_utils.disable(PACKAGE, default_set=True)
    shutil.rmtree(_resources, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_status[-1] if _status else 1)


@pytest.fixture(autouse=True)
def empty_scene() -> Iterator[None]:
    """Each test starts in an empty file with one undo step."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.ops.ed.undo_push(message="start")
    yield
    if bpy.context.id_data is not None:
        # Up to 4.3 Blender would write into a scene that the next file frees; see tests/test_boundaries.py.
        pytest.exit("bpy.context.tool_settings or .layer_collection was read: use those of the scene", 1)


@pytest.fixture(scope="session")
def addon() -> Callable[[str], ModuleType]:
    """Import a module of the enabled extension: `addon("parts.table")`, `addon("backend.errors")`."""

    def load(name: str) -> ModuleType:
        top = "" if name.partition(".")[0] == "backend" else "partsam_addon."
        return importlib.import_module(f"{PACKAGE}.{top}{name}")

    return load


@pytest.fixture
def parts(addon: Callable[[str], ModuleType]) -> ModuleType:
    return addon("parts")


@pytest.fixture
def session(addon: Callable[[str], ModuleType]) -> Any:
    return addon("session").get_session()


@pytest.fixture
def quarters(parts: ModuleType) -> bpy.types.Object:
    """A grid in four parts with their tree."""
    from part_trees import quartered

    return quartered(parts)
