# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's side against the real backend process: it starts, dies, is cancelled and restarted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plain_addon import ROOT, load

backend_process = load("backend_process")
requests = backend_process.requests
BackendProcess = backend_process.BackendProcess
JobState = backend_process.JobState

TIMEOUT = 120.0


@pytest.fixture
def settings(tmp_path: Path) -> object:
    return backend_process.BackendSettings(python=Path(sys.executable), working_folder=tmp_path / "backend")


@pytest.fixture
def make_backend() -> Iterator[Callable[..., object]]:
    made = []

    def make(settings: object) -> object:
        made.append(BackendProcess(settings))
        return made[-1]

    yield make
    for backend in made:
        backend.shutdown()


def is_running(pid: int) -> bool:
    """Whether `pid` exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def pump_until_final(backend: object, *jobs: object) -> None:
    """What Blender's timer does."""

    def done() -> bool:
        backend.pump()
        return all(job.poll() for job in jobs)

    wait_until(done)


def test_it_starts_on_first_use_and_introduces_itself(settings, make_backend) -> None:
    backend = make_backend(settings)
    assert backend.state.name == "STOPPED" and not backend.is_alive
    done = []
    with pytest.raises(backend_process.RequestFailed, match="not a request") as failure:
        backend.wait(backend.send(backend_process.Request("nonsense"), on_done=done.append), TIMEOUT)
    assert failure.value.kind == "protocol"
    assert [job.state for job in done] == [JobState.FAILED]
    assert backend.state.name == "READY"
    assert backend.info["protocol"] == 1
    assert backend.info["pid"] == backend.pid
    assert backend.info["device"] in ("cpu", "cuda", "mps")
    assert "hello: done" in backend.log_path.read_text()

    pid = backend.pid
    backend.shutdown()
    assert backend.state.name == "STOPPED"
    assert not is_running(pid)


def test_killed_backend_leaves_a_report_and_restarts(settings, make_backend) -> None:
    backend = make_backend(settings)
    backend.wait(backend.start(), TIMEOUT)
    os.kill(backend.pid, signal.SIGSTOP)  # so that it cannot answer before it dies
    waiting = [backend.send(requests.hello()) for _ in range(2)]
    os.kill(backend.pid, signal.SIGKILL)
    pump_until_final(backend, *waiting)

    assert backend.state.name == "CRASHED" and not backend.is_alive
    for job in waiting:
        assert job.state is JobState.FAILED
        with pytest.raises(backend_process.BackendDied, match="memory ran out"):
            job.result()
    report = backend.crash
    assert report.exit_code == -signal.SIGKILL
    assert "scene is unchanged" in report.summary
    assert any("hello: done" in line for line in report.log_tail)
    assert str(backend.log_path) in report.text()
    with pytest.raises(backend_process.BackendDied):
        backend.send(requests.hello())

    backend.wait(backend.restart(), TIMEOUT)
    assert backend.state.name == "READY" and backend.crash is None


def test_a_program_that_is_not_the_backend_is_reported(tmp_path: Path, make_backend) -> None:
    program = tmp_path / "python"
    program.write_text(
        "#!/bin/sh\necho 'library not found' >&2\necho 'Usage: something else entirely'\ncat\n"
    )
    program.chmod(0o755)
    backend = make_backend(backend_process.BackendSettings(python=program, working_folder=tmp_path))
    job = backend.start()
    pump_until_final(backend, job)
    assert isinstance(job.error, backend_process.BackendDied)
    assert "not a PartSAM message: it starts with b'Usage: s'" in backend.crash.summary
    assert "library not found" in backend.crash.log_tail


def test_a_python_without_the_libraries_is_reported(tmp_path: Path, make_backend) -> None:
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "empty")],
        check=True,
        capture_output=True,
    )
    python = tmp_path / "empty" / "bin" / "python"
    backend = make_backend(backend_process.BackendSettings(python=python, working_folder=tmp_path))
    job = backend.start()
    pump_until_final(backend, job)
    assert isinstance(job.error, backend_process.BackendDied)
    assert "exit code 1" in backend.crash.summary
    assert any("No module named 'numpy'" in line for line in backend.crash.log_tail)


def test_a_missing_python_is_reported(tmp_path: Path, make_backend) -> None:
    backend = make_backend(
        backend_process.BackendSettings(python=tmp_path / "nowhere", working_folder=tmp_path)
    )
    with pytest.raises(Exception, match=r"cannot be started.*preferences"):
        backend.send(requests.hello())
    assert backend.state.name == "STOPPED"


def test_the_environment_of_blender_does_not_leak(settings, make_backend, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")
    monkeypatch.setenv("PYTHONPATH", "/nonexistent")
    backend = make_backend(settings)
    backend.wait(backend.start(), TIMEOUT)


def test_it_runs_from_a_folder_of_any_name_that_is_read_only(tmp_path: Path) -> None:
    """As an installed extension: another top folder, files that must not be written to, no search path."""
    folder = tmp_path / "ext ünd space" / "partsam"
    folder.mkdir(parents=True)
    for package in ("backend", "partsam_addon"):
        (folder / package).symlink_to(ROOT / package)
    code = f"""
        import importlib, sys, types
        from pathlib import Path
        for name, path in (("top", {str(folder)!r}), ("top.partsam_addon", {str(folder / "partsam_addon")!r})):
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__path__ = [path]
        process = importlib.import_module("top.partsam_addon.backend_process")
        settings = process.BackendSettings(python=Path(sys.executable), working_folder=Path({str(tmp_path)!r}))
        backend = process.BackendProcess(settings)
        print(backend.wait(backend.start(), {TIMEOUT}).fields["backend"])
        backend.shutdown()
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "0.1.0"
    assert list((tmp_path / "pycache").rglob("server*.pyc"))


PARENT = """
    import sys, time
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    from plain_addon import load
    backend_process = load("backend_process")
    settings = backend_process.BackendSettings(python=Path(sys.executable), working_folder=Path({folder!r}))
    backend = backend_process.BackendProcess(settings)
    backend.start()
    print(backend.pid, flush=True)
    {ending}
"""


@pytest.mark.parametrize(
    "ending", ["time.sleep(600)", "backend.wait(backend.send(backend_process.requests.hello()))"]
)
def test_no_orphan_survives_a_blender_that_is_killed_or_just_quits(tmp_path: Path, ending: str) -> None:
    code = PARENT.format(tests=str(ROOT / "tests"), folder=str(tmp_path), ending=ending)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    ) as parent:
        child = int(parent.stdout.readline())
        assert is_running(child)
        if "sleep" in ending:
            parent.kill()
        assert parent.wait(TIMEOUT) == (-signal.SIGKILL if "sleep" in ending else 0)
    wait_until(lambda: not is_running(child))
