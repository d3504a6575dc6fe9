# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python environment that the backend runs in: find, check, install. No bpy.

environments = EnvironmentFolder(Path(bpy.utils.extension_path_user(package, path="environments")))
python = environments.python()                       # None: not installed yet
check = Task(lambda progress: check_environment(python))
candidates = find_pythons(Path(sys.executable))      # usable ones first
task = start_install(environments, InstallSettings(candidates[0].path), online_access=bpy.app.online_access)
task.progress.step, task.progress.fraction, task.progress.lines; task.poll(); task.cancel(); task.result()
"""

from .check import EnvironmentReport, check_environment
from .folder import EnvironmentFolder
from .install import REQUIREMENTS, Compute, InstallSettings, install, manual_instructions, start_install
from .install_errors import InstallFailed
from .pythons import PythonCandidate, find_pythons, probe_python
from .task import Progress, Task

__all__ = [
    "REQUIREMENTS",
    "Compute",
    "EnvironmentFolder",
    "EnvironmentReport",
    "InstallFailed",
    "InstallSettings",
    "Progress",
    "PythonCandidate",
    "Task",
    "check_environment",
    "find_pythons",
    "install",
    "manual_instructions",
    "probe_python",
    "start_install",
]
