# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line that starts the backend of this extension in another Python."""

from __future__ import annotations

from pathlib import Path

LAUNCHER = Path(__file__).resolve().parents[2] / "backend" / "service" / "launcher.py"


def launcher_command(
    python: Path, packages: Path | None, *words: str, compiled_files: Path | None = None
) -> list[str]:
    """`words` (a command of the backend and its arguments) for `python`, isolated.

    Neither the user's packages nor PYTHON* variables are seen.
    packages: a folder of modules that `python` finds besides its own
    compiled_files: where compiled Python files go, as the extension's folder may be read-only; None: not kept
    """
    keeping = ["-B"] if compiled_files is None else ["-X", f"pycache_prefix={compiled_files}"]
    extra = [] if packages is None else [f"--packages={packages}"]
    return [str(python), "-I", "-u", *keeping, str(LAUNCHER), *extra, *words]
