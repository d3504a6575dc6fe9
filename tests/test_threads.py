# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend shares processor and memory with Blender, and with whatever else computes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from backend.benchmarks.busy import busy_processes
from backend.freed_memory import give_back_freed_memory, keep_freed_memory
from backend.threads import leave_a_core, meanwhile, started, wait_passively


@pytest.mark.parametrize(("cores", "threads"), [(1, "1"), (2, "2"), (3, "2"), (16, "15")])
def test_one_core_stays_free(cores: int, threads: str) -> None:
    environment: dict[str, str] = {}
    leave_a_core(environment, cores=cores)
    assert environment == {"OMP_NUM_THREADS": threads}


def test_what_the_user_sets_wins() -> None:
    environment = {"OMP_NUM_THREADS": "5", "OMP_WAIT_POLICY": "ACTIVE"}
    leave_a_core(environment)
    wait_passively(environment)
    assert environment == {"OMP_NUM_THREADS": "5", "OMP_WAIT_POLICY": "ACTIVE"}


def test_torch_heeds_it(repository: Path) -> None:
    program = (
        "from backend.threads import leave_a_core, wait_passively; leave_a_core(cores=1); wait_passively();"
        "import torch; print(torch.get_num_threads())"
    )
    free = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_"))}
    free["OMP_DISPLAY_ENV"] = "verbose"  # makes the OpenMP library say how it was set up
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository, env=free, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert result.stdout.split() == ["1"]
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in result.stderr
    if sys.platform == "linux":  # only GNU's library has it, which PyTorch brings along there
        assert "GOMP_SPINCOUNT = '1000'" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads as Linux lists them")
def test_numpy_starts_no_threads(repository: Path) -> None:
    program = (
        "from backend.threads import wait_passively; wait_passively();"
        "import os, numpy; numpy.ones((512, 512)) @ numpy.ones((512, 512));"
        "print(len(os.listdir('/proc/self/task')))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository, env=_unsettled(), capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert result.stdout.split() == ["1"]


def test_commands_settle_it_before_they_import_numpy_and_torch(repository: Path) -> None:
    program = (
        "import os, sys; from backend.__main__ import main; early = 'numpy' in sys.modules;"
        "main(['segment', 'missing.glb', '--labels', 'x.npy']);"
        "print(os.environ['OMP_WAIT_POLICY'], os.environ['OPENBLAS_NUM_THREADS']);"
        "print(early, 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository, env=_unsettled(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.stdout.split() == ["PASSIVE", "1", "False", "False"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much memory a process holds")
def test_freed_memory_is_kept_until_it_is_given_back(repository: Path) -> None:
    program = (
        "import os; from backend.freed_memory import *; keep_freed_memory();"
        "page = os.sysconf('SC_PAGE_SIZE');"
        "held = lambda: int(open('/proc/self/statm').read().split()[1]) * page >> 20;"
        "blocks = [bytearray(2**20) for _ in range(30)]; del blocks; kept = held();"
        "give_back_freed_memory(); print(kept, held())"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    kept, left = map(int, result.stdout.split())
    assert kept > left + 20


def test_children_keep_freed_memory_too_and_the_user_wins() -> None:
    environment = {"MALLOC_TRIM_THRESHOLD_": "1000000"}
    keep_freed_memory(environment)
    assert environment["MALLOC_TRIM_THRESHOLD_"] == "1000000"
    assert sys.platform != "linux" or "MALLOC_MMAP_THRESHOLD_" in environment
    give_back_freed_memory()


@pytest.mark.parametrize("beside", [True, False])
def test_what_runs_meanwhile_gives_its_result_or_its_error(beside: bool) -> None:
    with meanwhile(lambda: 3, beside=beside) as result:
        assert result() == 3
    with meanwhile(lambda: 1 // 0, beside=beside) as broken, pytest.raises(ZeroDivisionError):
        broken()


def test_what_is_started_runs_before_it_is_asked_for() -> None:
    begun = threading.Event()
    result = started(lambda: (begun.set(), 7)[1])
    assert begun.wait(10)
    assert (result(), result()) == (7, 7)


def test_whoever_asks_for_what_was_started_gets_its_error() -> None:
    result = started(lambda: 1 // 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            result()


def test_busy_processes_end_with_the_measurement() -> None:
    with busy_processes(2) as processes:
        assert [process.poll() for process in processes] == [None, None]
    assert all(process.poll() is not None for process in processes)


def _unsettled() -> dict[str, str]:
    """The environment without what says how many threads compute, and how they wait."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "OPENBLAS_"))}
