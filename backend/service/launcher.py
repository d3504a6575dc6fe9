# SPDX-License-Identifier: GPL-3.0-or-later
"""Run as a script: serves the backend that this file belongs to, wherever its folder lies.

    python -I -u launcher.py --parent-pid=123

The add-on's folder is on no search path, and an isolated interpreter has none of its own. Only the package
`backend` is made known, under its name, so that neither other packages nor other files beside it interfere.
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
ENVIRONMENT_UNUSABLE_EXIT = 71  # as in protocol.py, which cannot be imported where this is needed


def main() -> int:
    if sys.version_info < OLDEST_PYTHON:
        return _unusable(f"Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer is needed")
    try:
        serve = _load_serve()
    except ModuleNotFoundError as error:
        return _unusable(str(error))
    parser = argparse.ArgumentParser(prog="partsam-backend", description=serve.__doc__)
    serve.add_arguments(parser)
    return serve.run(parser.parse_args())


def _load_serve() -> ModuleType:
    folder = Path(__file__).resolve().parents[1]
    spec = importlib.util.spec_from_file_location(
        "backend", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"the backend is incomplete: {folder} has no __init__.py")
    package = importlib.util.module_from_spec(spec)
    sys.modules["backend"] = package
    spec.loader.exec_module(package)
    return importlib.import_module("backend.commands.serve")


def _unusable(reason: str) -> int:
    sys.stderr.write(f"{reason} (this is Python {platform.python_version()}, {sys.executable})\n")
    return ENVIRONMENT_UNUSABLE_EXIT


if __name__ == "__main__":
    sys.exit(main())
