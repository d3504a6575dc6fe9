# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python that the backend runs in: find, check, make one with uv. No bpy.

python = blenders_own() or BackendPython(environments.python())   # the full zip's wheels; what Set Up made
environments = EnvironmentFolder(Path(machine_folder()))
check = Task(lambda progress: check_environment(python))
settings = InstallSettings(find_uv(sys.path), plan_for_this_machine())
task = Task(lambda progress: install(environments, settings, progress, online_access=bpy.app.online_access))
task.progress.step, task.progress.fraction, task.progress.lines; task.poll(); task.cancel(); task.result()
"""

from .check import EnvironmentReport, check_environment
from .faults import InstallFailed
from .folder import EnvironmentFolder
from .graphics import TorchPlan, plan_for_this_machine
from .install import REQUIREMENTS, InstallSettings, install
from .interpreter import BackendPython, blenders_own
from .locations import FOLDER_VARIABLE, find_uv, machine_folder
from .models import import_model
from .task import Progress, Task

__all__ = [
    "FOLDER_VARIABLE",
    "REQUIREMENTS",
    "BackendPython",
    "EnvironmentFolder",
    "EnvironmentReport",
    "InstallFailed",
    "InstallSettings",
    "Progress",
    "Task",
    "TorchPlan",
    "blenders_own",
    "check_environment",
    "find_uv",
    "import_model",
    "install",
    "machine_folder",
    "plan_for_this_machine",
]
