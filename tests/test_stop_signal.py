# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGTERM to the process group of a training run, as `timeout` and schedulers send it, while it compiles."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.tiny_training import write_tiny_config

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals to process groups are of POSIX")

_LATEST = 120
"""Seconds after which a run is given up as hanging."""

_NEVER_COMPILED = """
    import sys, threading
    from backend.__main__ import main
    from backend.training.step import TrainStep

    def never(*_):
        print("compiling", flush=True)
        threading.Event().wait()

    TrainStep.__call__ = never
    sys.exit(main(sys.argv[1:]))
"""

_COMPILED_LATER = """
    import os, signal, threading, time
    from torch._inductor.async_compile import AsyncCompile
    from backend.training.stop_signal import StopSignal, start_compile_workers

    start_compile_workers()
    workers = AsyncCompile.process_pool()
    assert workers.submit(os.getpid).result() != os.getpid()
    with StopSignal() as stop:
        stop.step_done()
        compiled = workers.submit(time.sleep, 1)
        print("compiling", flush=True)
        compiled.result()
        print("compiled", stop.came, flush=True)
    with StopSignal(grace=0.2) as stop:
        stop.step_done()
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()
"""


@contextmanager
def in_own_group(repository: Path, script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that leads a group of its own; the whole group is gone afterwards."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "2"}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        cwd=repository,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_before_the_first_step_a_run_just_ends(repository, tmp_path):
    arguments = ("train", write_tiny_config(tmp_path), "-o", tmp_path / "run", "--device", "cpu")
    with in_own_group(repository, _NEVER_COMPILED, *arguments) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "compiling\n"
        os.killpg(run.pid, signal.SIGTERM)
        assert run.wait(_LATEST) == -signal.SIGTERM
    assert not (tmp_path / "run/checkpoint.pt").exists()


def test_later_compilation_goes_on_and_what_never_ends_is_ended(repository):
    with in_own_group(repository, _COMPILED_LATER) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "compiling\n"
        os.killpg(run.pid, signal.SIGTERM)
        said, complaint = run.communicate(timeout=_LATEST)
        assert said == "compiled True\n"
        assert run.returncode == 1
        assert "Timeout" in complaint
        assert "threading.py" in complaint
