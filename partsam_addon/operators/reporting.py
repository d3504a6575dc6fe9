# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that a user can act on become reports; all others keep their traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import bpy

from ...backend.errors import PartSAMError
from ..session import get_session
from ..wording import say_error

Step = Callable[[Any, bpy.types.Context], set[str]]


def reports_errors(step: Step) -> Step:
    """Decorate an operator's `execute` or `invoke` step: PartSAMError becomes a report and CANCELLED.

    The panel's box shows it as well, with a way on where the backend has ended.
    """

    @functools.wraps(step)
    def guarded(operator: bpy.types.Operator, context: bpy.types.Context) -> set[str]:
        session = get_session()
        if session.problem is not None and not session.problem.restart:
            session.problem = None  # it was about what the user did before
        try:
            return step(operator, context)
        except PartSAMError as error:
            session.report(error)
            operator.report({"ERROR"}, say_error(error))
            return {"CANCELLED"}

    return guarded
