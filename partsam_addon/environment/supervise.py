# SPDX-License-Identifier: GPL-3.0-or-later
"""Run as a script: starts a program and ends it when standard input is closed.

    python -I supervise.py PROGRAM ARGUMENT...

Whoever started this holds the other end. When he dies, even by a crash or a kill, the system closes it, so
that no installation goes on without Blender.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

CANNOT_START = 127


def main() -> int:
    try:
        child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    except OSError as error:
        sys.stderr.write(f"{sys.argv[1]} cannot be started: {error}\n")
        return CANNOT_START

    def end_with_parent() -> None:
        while os.read(0, 4096):
            pass
        child.kill()

    threading.Thread(target=end_with_parent, daemon=True).start()
    code = child.wait()
    if code < 0:  # the exit code of this process cannot say so
        sys.stderr.write(f"{sys.argv[1]} was ended by a signal: {signal.strsignal(-code)}\n")
    return code


if __name__ == "__main__":
    # Not sys.exit: that would wait for the thread's read.
    code = main()
    os._exit(code if 0 <= code < 256 else 1)
