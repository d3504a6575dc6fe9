# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend subprocess as Blender sees it: start it, send requests, pump its events.

    backend = BackendProcess(BackendSettings(python=..., working_folder=...))
    job = backend.send(requests.encode({"vertices": ..., "triangles": ...}, model="small"))
    # interactive: a timer on the main thread calls backend.pump(); job.on_done is called from there
    # scripts: result = backend.wait(job)

Plain Python without bpy. All methods belong to one thread (Blender's main thread); the threads
inside touch pipes and queues only.
"""

from . import requests
from .crash import CrashReport
from .job import BackendDied, Job, JobState, RequestFailed, Result
from .process import BackendProcess, BackendSettings, BackendState
from .requests import Request

__all__ = [
    "BackendDied",
    "BackendProcess",
    "BackendSettings",
    "BackendState",
    "CrashReport",
    "Job",
    "JobState",
    "Request",
    "RequestFailed",
    "Result",
    "requests",
]
