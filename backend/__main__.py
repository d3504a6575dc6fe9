# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m backend COMMAND`: segment meshes, measure, look for faults, serve Blender, train, evaluate.

Exit codes: 0 done, 1 an error that the user can act on (one line on stderr), 2 wrong usage,
130 interrupted. Only the module of the chosen command is imported, and none of them imports torch
before it needs it: help and errors about a mesh come at once.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import Cancelled, PartSAMError
from .freed_memory import keep_freed_memory
from .threads import wait_passively

_FOLDER = Path(__file__).with_name("commands")
ALL_COMMANDS = (
    "segment",
    "segment-many",
    "correspond",
    "transfer",
    "doctor",
    "serve",
    "benchmark",
    "curate",
    "fuse",
    "train",
    "choose",
    "evaluate",
)
"""Each is a module of `backend.commands` with `add_arguments(parser)` and `run(args) -> int`."""
COMMANDS = tuple(name for name in ALL_COMMANDS if (_FOLDER / f"{name.replace('-', '_')}.py").is_file())
"""Those that are here: the extension's zip leaves out what measures and trains."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (sys.argv[1:] unless given) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    wait_passively()
    keep_freed_memory()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be in no encoding, or another
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    chosen = next((word for word in arguments if word in ALL_COMMANDS), None)
    if chosen is not None and chosen not in COMMANDS:
        print(f"error: {chosen} is not part of the extension; run it from the source", file=sys.stderr)
        return 2
    args = _parser(chosen).parse_args(arguments)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except (KeyboardInterrupt, Cancelled):
        print("interrupted", file=sys.stderr)
        return 130
    except PartSAMError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output left (`| head`). Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser of all commands; only that of the `chosen` one knows its arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m backend", description="PartSAM: meshes into their parts."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        summary = _summary(name).replace("%", "%%")
        command = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            module = importlib.import_module(f".commands.{name.replace('-', '_')}", __package__)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def _summary(name: str) -> str:
    """First line of the docstring of a command's module, without importing what the module imports."""
    source = (_FOLDER / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    return docstring.partition("\n")[0]


if __name__ == "__main__":
    exit_code = main()
    # Else Python looks through all that torch has made for cycles, twice, before it ends: 0.4 s.
    gc.freeze()
    sys.exit(exit_code)
