# SPDX-License-Identifier: GPL-3.0-or-later
"""Which build of torch suits this machine: asked of the graphics driver before anything is downloaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass

from ..backend_process.connection import child_environment

QUERY = ("--query-gpu=name,driver_version,compute_cap,memory.total", "--format=csv,noheader,nounits")
QUERY_SECONDS = 20.0
GIGABYTE = 10**9


@dataclass(frozen=True)
class GraphicsCard:
    """An NVIDIA card: compute capability and driver version as tuples of numbers, memory in MB."""

    name: str
    driver: tuple[int, ...]
    capability: tuple[int, ...]
    memory: int


@dataclass(frozen=True)
class CudaBuild:
    """A build of torch: cards by compute capability, oldest driver, bytes to download."""

    name: str
    label: str
    oldest_card: tuple[int, int]
    newest_card: tuple[int, int]
    oldest_driver: tuple[int, int]
    download: int


# PyTorch's support matrix of releases 2.12 and 2.13; drivers as NVIDIA's minor-version compatibility has it.
CUDA_BUILDS = (
    CudaBuild("cu130", "CUDA 13.0", (7, 5), (12, 99), (580, 0), 3 * GIGABYTE),
    CudaBuild("cu126", "CUDA 12.6", (5, 0), (9, 99), (528, 33), 3 * GIGABYTE),
)


@dataclass(frozen=True)
class TorchPlan:
    """What would be installed.

    build: uv's name of the torch build ("cu130", "cpu", "auto"); "" for that of the usual package index
    label: for people; reason: why this one, and what to do for a better one
    download, disk: bytes, roughly
    """

    build: str
    label: str
    reason: str
    download: int
    disk: int

    def lines(self) -> list[str]:
        """For a dialog: one sentence a line."""
        return [
            self.reason,
            f"PyTorch for {self.label}: about {self.download / GIGABYTE:.1f} GB to download, "
            f"{self.disk / GIGABYTE:.1f} GB on disk.",
        ]


def plan_for_this_machine(*, cpu_only: bool = False) -> TorchPlan:
    """Ask the driver, and choose. Takes up to seconds."""
    if cpu_only:
        return cpu_plan(sys.platform, "As chosen, without a graphics card.")
    return choose_torch(sys.platform, query_cards(), has_rocm=shutil.which("rocminfo") is not None)


def query_cards() -> list[GraphicsCard]:
    """The NVIDIA cards that the driver reports, the strongest first; none where it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None or sys.platform == "darwin":
        return []
    try:
        run = subprocess.run(
            [program, *QUERY],
            capture_output=True,
            timeout=QUERY_SECONDS,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return parse_cards(run.stdout.decode("utf-8", errors="replace")) if run.returncode == 0 else []


def parse_cards(answer: str) -> list[GraphicsCard]:
    """Cards of the answer to `QUERY`; lines that are none ("[N/A]", warnings) are left out."""
    cards = []
    for line in answer.splitlines():
        try:
            name, driver, capability, memory = (part.strip() for part in line.rsplit(",", 3))
            cards.append(GraphicsCard(name, _numbers(driver), _numbers(capability), int(memory)))
        except ValueError:
            continue
    return sorted(cards, key=lambda card: (card.capability, card.memory), reverse=True)


def choose_torch(system: str, cards: list[GraphicsCard], *, has_rocm: bool = False) -> TorchPlan:
    """The build for the strongest card of a machine."""
    if system == "darwin":
        return TorchPlan("", "macOS (Metal and CPU)", "Macs have one build for all.", GIGABYTE // 5, GIGABYTE)
    if not cards:
        if has_rocm and system == "linux":
            return TorchPlan("auto", "ROCm", "An AMD card with ROCm was found.", 5 * GIGABYTE, 20 * GIGABYTE)
        return cpu_plan(system, "No usable NVIDIA card was found (its driver does not answer).")
    card = cards[0]
    fitting = [build for build in CUDA_BUILDS if build.oldest_card <= card.capability <= build.newest_card]
    for build in fitting:
        if card.driver >= build.oldest_driver:
            reason = f"{card.name} with driver {_dotted(card.driver)} can use {build.label}."
            return TorchPlan(build.name, build.label, reason, build.download, 3 * build.download)
    if fitting:
        oldest = min(build.oldest_driver for build in fitting)
        reason = (
            f"{card.name} could be used, but its driver {_dotted(card.driver)} is too old: update it to "
            f"{_dotted(oldest)} or newer, and set up again."
        )
    else:
        reason = f"{card.name} (compute capability {_dotted(card.capability)}) is not supported by PyTorch."
    return cpu_plan(system, reason)


def cpu_plan(system: str, reason: str) -> TorchPlan:
    """torch without support for graphics cards. On Linux the usual index has one for NVIDIA only."""
    build = "cpu" if system == "linux" else ""
    return TorchPlan(build, "the CPU", reason, GIGABYTE // 3, 3 * GIGABYTE // 2)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
