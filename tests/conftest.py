# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tests run where, and what all tests share.

`tests/blender` runs in the environments that have `bpy`, all else in the one that has torch: each
environment collects what it can run, so a plain `pytest` works in either. `tests/window` drives a real
Blender window from the torch environment.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
# Before anything imports torch: spinning threads would slow each other down on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

HAS_BPY = importlib.util.find_spec("bpy") is not None

if importlib.util.find_spec("hypothesis") is not None:
    import hypothesis

    # A busy machine is not a failure, and every run checks the same examples.
    hypothesis.settings.register_profile("partsam", deadline=None, derandomize=True)
    hypothesis.settings.load_profile("partsam")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what this environment cannot import."""
    if collection_path in (TESTS, TESTS.parent):
        return None
    for_blender = collection_path.is_relative_to(TESTS / "blender")
    return True if for_blender != HAS_BPY else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder."""
    for item in items:
        for folder in ("blender", "window"):
            if item.path.is_relative_to(TESTS / folder):
                item.add_marker(folder)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return TESTS.parent
