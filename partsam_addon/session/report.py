# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is known about an installation, as text for a bug report."""

from __future__ import annotations

import platform

import bpy

from ...backend.errors import PartSAMError
from .choices import chosen_python, environment_folder, model_file
from .session import Session


def report_text(session: Session) -> str:
    """Versions, what runs the backend, what went wrong last, and the last lines of its log."""
    python, made = chosen_python(), environment_folder()
    lines = [
        f"Blender {bpy.app.version_string}, Python {platform.python_version()}, {platform.platform()}",
        f"Backend's Python: {None if python is None else python.path}",
        f"Its packages: {None if python is None else python.packages}",
        f"Environment: {made.python()} (PyTorch {made.torch_build() or 'as usual'})",
        _model(),
    ]
    if session.setup.text():
        lines += ["", "Last set-up or check:", session.setup.text()]
    if session.backend is not None:
        lines += ["", f"Backend: {session.backend.state.value}, {session.backend.info}"]
        lines += session.backend.log_tail()
    if session.problem is not None:
        lines += ["", f"Problem: {session.problem.message}", *session.problem.log_tail]
    return "\n".join(lines)


def _model() -> str:
    try:
        return f"Model: {model_file()}"
    except PartSAMError as error:
        return f"Model: {error}"
