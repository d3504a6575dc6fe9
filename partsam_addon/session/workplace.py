# SPDX-License-Identifier: GPL-3.0-or-later
"""What flows, sliders and tools need of the session, so that they need not know the session itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..backend_process import Job, Request
from .choices import Choices
from .held import HeldTrees
from .input_watch import InputWatch
from .progress import WorkProgress


class Workplace(Protocol):
    """See `session.Session`, which is one."""

    choices: Choices | None
    notices: tuple[str, ...]
    held: HeldTrees
    progress: WorkProgress
    input: InputWatch

    @property
    def is_free(self) -> bool: ...

    def send(self, request: Request) -> Job: ...

    def obstacle(self) -> str: ...

    def report(self, error: Exception) -> None: ...

    def watch(self, poll: Callable[[], bool]) -> None: ...

    def wake(self) -> None: ...

    def end_clicks(self) -> None: ...

    def redraw(self, *, viewport: bool = True, panels: bool = True) -> None: ...


class Tool(Protocol):
    """An interactive tool that runs until it is stopped."""

    def stop(self) -> None: ...
