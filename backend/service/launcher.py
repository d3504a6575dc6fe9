# SPDX-License-Identifier: GPL-3.0-or-later
"""Run as a script: one command of the backend that this file belongs to, wherever its folder lies.

    python -I -u launcher.py serve --parent-pid=123
    python -I launcher.py --packages=FOLDER doctor --json

The add-on's folder is on no search path, and an isolated interpreter has none of its own. Only the package
`backend` is made known, under its name, so that neither other packages nor other files beside it interfere.
--packages: where Blender has unpacked the extension's wheels. It comes last on the search path, because
other extensions unpack theirs there too, and the interpreter's own numpy must win.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import platform
import sys
from pathlib import Path
from types import ModuleType

OLDEST_PYTHON = (3, 11)
PACKAGES = "--packages="
COMMANDS = ("serve", "doctor")
ENVIRONMENT_UNUSABLE_EXIT = 71  # as in protocol.py, which cannot be imported where this is needed


def main() -> int:
    words = sys.argv[1:]
    if words and words[0].startswith(PACKAGES):
        sys.path.append(words.pop(0).removeprefix(PACKAGES))
    if sys.version_info < OLDEST_PYTHON:
        return _unusable(f"Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer is needed")
    if not words or words[0] not in COMMANDS:
        return _unusable(f"one of {', '.join(COMMANDS)} is needed")
    try:
        command = _load_command(words[0])
    except ModuleNotFoundError as error:
        return _unusable(str(error))
    parser = argparse.ArgumentParser(prog=f"partsam-{words[0]}", description=command.__doc__)
    command.add_arguments(parser)
    return command.run(parser.parse_args(words[1:]))


def _load_command(name: str) -> ModuleType:
    folder = Path(__file__).resolve().parents[1]
    spec = importlib.util.spec_from_file_location(
        "backend", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"the backend is incomplete: {folder} has no __init__.py")
    package = importlib.util.module_from_spec(spec)
    sys.modules["backend"] = package
    spec.loader.exec_module(package)
    return importlib.import_module(f"backend.commands.{name}")


def _unusable(reason: str) -> int:
    sys.stderr.write(f"{reason} (this is Python {platform.python_version()}, {sys.executable})\n")
    return ENVIRONMENT_UNUSABLE_EXIT


if __name__ == "__main__":
    sys.exit(main())
