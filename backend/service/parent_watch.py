# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices that Blender has died, even where another process keeps the pipe to us open."""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0


def watch_parent(pid: int, on_death: Callable[[], None]) -> None:
    """Call `on_death` from a thread of its own when process `pid` has ended.

    A process that we cannot see (a sandbox with process ids of its own) is not watched: there, only the
    end of standard input tells that it died.
    """
    if not _is_visible(pid):
        logger.warning("process %d is not visible; only the end of standard input will end us", pid)
        return

    def watch() -> None:
        _wait_for_end(pid)
        logger.info("process %d has ended", pid)
        on_death()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    SYNCHRONIZE = 0x00100000
    INFINITE = 0xFFFFFFFF

    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel32.OpenProcess.restype = wintypes.HANDLE
    _kernel32.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
    _kernel32.WaitForSingleObject.argtypes = (wintypes.HANDLE, wintypes.DWORD)
    _kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)

    def _is_visible(pid: int) -> bool:
        handle = _kernel32.OpenProcess(SYNCHRONIZE, False, pid)
        if handle:
            _kernel32.CloseHandle(handle)
        return bool(handle)

    def _wait_for_end(pid: int) -> None:
        handle = _kernel32.OpenProcess(SYNCHRONIZE, False, pid)
        if handle:  # None: it ended in between
            _kernel32.WaitForSingleObject(handle, INFINITE)
            _kernel32.CloseHandle(handle)

else:

    def _is_visible(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True

    def _wait_for_end(pid: int) -> None:
        try:
            _block_until_end(pid)
        except ProcessLookupError:
            return  # it ended before we looked
        except (OSError, AttributeError) as error:  # an old kernel, or a Python built for one
            logger.debug("polling for the end of process %d: %s", pid, error)
            while _is_visible(pid):
                time.sleep(POLL_SECONDS)

    if sys.platform == "linux":

        def _block_until_end(pid: int) -> None:
            descriptor = os.pidfd_open(pid)
            try:
                poller = select.poll()
                poller.register(descriptor, select.POLLIN)
                poller.poll()
            finally:
                os.close(descriptor)

    else:  # macOS and the BSDs

        def _block_until_end(pid: int) -> None:
            queue = select.kqueue()
            try:
                event = select.kevent(
                    pid,
                    filter=select.KQ_FILTER_PROC,
                    flags=select.KQ_EV_ADD | select.KQ_EV_ONESHOT,
                    fflags=select.KQ_NOTE_EXIT,
                )
                queue.control([event], 1)
            finally:
                queue.close()
