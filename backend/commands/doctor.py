# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what this Python has, what the backend computes on, how fast, and the one thing that is wrong."""

from __future__ import annotations

import argparse
import json
import sys

from ..service.examination import MODULES, examine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", metavar="auto|cuda|mps|cpu", help="default: %(default)s")
    parser.add_argument("--model", default="small", metavar="small|FILE", help="default: %(default)s")
    parser.add_argument("--no-model", action="store_true", help="look at modules and device only")
    parser.add_argument("--modules", nargs="+", default=MODULES, metavar="NAME", help="default: all needed")
    parser.add_argument("--json", action="store_true", help="one line of JSON")


def run(args: argparse.Namespace) -> int:
    # Libraries may print while they are imported; the report must be alone on the real output.
    output, sys.stdout = sys.stdout, sys.stderr
    model = None if args.no_model else args.model
    found = examine(modules=args.modules, model=model, device=args.device)
    sys.stdout = output
    print(json.dumps(found.as_dict()) if args.json else "\n".join(found.lines()))
    return 1 if found.problems else 0
