# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engine runs a batch, and with how much of what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .jobs import Engine, Job
from .local_engine import Limits, LocalEngine

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class EngineSettings:
    """kind: "local" (processes of this machine) or "ray"; workers: at work at once
    max_workers: to which Ray may scale up; cpus, gpus: of each Ray worker; address: of the Ray cluster
    """

    kind: str = "local"
    workers: int = 1
    max_workers: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None
    limits: Limits = field(default_factory=Limits)


@contextmanager
def open_engine(job: Job, settings: EngineSettings) -> Iterator[Engine]:
    """An engine for a job; its processes end with the context."""
    if settings.kind == "ray":
        from .ray_engine import RayEngine, RaySettings

        most = max(settings.max_workers or settings.workers, settings.workers)
        cluster = RaySettings(
            (settings.workers, most), cpus=settings.cpus, gpus=settings.gpus, address=settings.address
        )
        yield RayEngine(job, cluster, settings.limits)
        return
    with LocalEngine(job, workers=settings.workers, limits=settings.limits) as engine:
        yield engine
