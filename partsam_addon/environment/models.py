# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights of the user's: checked by running them once, then copied to where updates do not reach."""

from __future__ import annotations

import shutil
from pathlib import Path

from ...backend.errors import CheckpointError
from ...backend.whole_files import appearing_whole
from .check import EnvironmentReport, check_environment
from .interpreter import BackendPython
from .task import Progress


def import_model(python: BackendPython, source: Path, target: Path, progress: Progress) -> EnvironmentReport:
    """Check `source` with `python` and copy it to `target`; the report of the check.

    Raises CheckpointError, with the reason, for a file that is no usable model or cannot be copied, and
    Cancelled; then `target` is as it was.
    """
    if source.suffix != ".safetensors":
        raise CheckpointError(
            f"{source.name} is not a .safetensors file; other formats can run code and are not loaded"
        )
    progress.begin("Trying the model", 0.1)
    report = check_environment(python, model=str(source), progress=progress)
    if not report.is_usable:
        raise CheckpointError(f"{source.name} was not imported: {'; '.join(report.problems)}")
    progress.begin("Copying the model", 0.8)
    if target.exists() and target.samefile(source):
        return report
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with appearing_whole(target) as partial:
            shutil.copyfile(source, partial)
            progress.check()
    except OSError as error:
        raise CheckpointError(f"{source.name} could not be copied to {target.parent}: {error}") from error
    return report
