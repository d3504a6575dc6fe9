# SPDX-License-Identifier: GPL-3.0-or-later
"""Run as a script: starts a program and ends it when standard input is closed.

    python -I supervise.py PROGRAM ARGUMENT...

Whoever started this holds the other end. When he dies, even by a crash or a kill, the system closes it, so
that no installation goes on without Blender.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading


def main() -> int:
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def end_with_parent() -> None:
        while os.read(0, 4096):
            pass
        child.kill()

    threading.Thread(target=end_with_parent, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    # Not sys.exit: that would wait for the thread's read.
    code = main()
    os._exit(code if 0 <= code < 256 else 1)
