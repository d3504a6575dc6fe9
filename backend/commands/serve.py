# SPDX-License-Identifier: GPL-3.0-or-later
"""Answer requests on standard input and output. Started by the add-on; see docs/protocol.md."""

from __future__ import annotations

import argparse
import logging
import signal

from ..service.parent_watch import watch_parent
from ..service.request_handlers import RequestHandlers
from ..service.server import Server, end_process
from ..service.standard_streams import claim_standard_streams
from ..threads import leave_a_core, wait_passively


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--parent-pid", type=int, help="end when the process with this id has ended")
    parser.add_argument(
        "--idle-release",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="give (video) memory back after so long without a request (default 300; 0: never)",
    )


def run(args: argparse.Namespace) -> int:
    leave_a_core()
    wait_passively()
    source, sink = claim_standard_streams()
    log_format = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, format=log_format, force=True)
    # Ctrl-C in the terminal that Blender was started from is meant for Blender.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if args.parent_pid is not None:
        watch_parent(args.parent_pid, end_process)
    Server(source, sink, RequestHandlers(), idle_seconds=args.idle_release).run()
    return 0
