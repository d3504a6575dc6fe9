# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's side against the real backend process: it starts, dies, is cancelled and restarted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh
from plain_addon import ROOT, load

backend_process = load("backend_process")
requests, prompts = backend_process.requests, load("backend_process.prompts")
BackendProcess = backend_process.BackendProcess
JobState = backend_process.JobState

TIMEOUT = 120.0
MODEL = "small-untrained"
_ball = trimesh.creation.icosphere(subdivisions=3)
BALL = {"vertices": np.array(_ball.vertices), "triangles": np.array(_ball.faces, dtype=np.int32)}


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
    wait_until(lambda: "hello: done" in backend.log_path.read_text())

    pid = backend.pid
    backend.shutdown()
    assert backend.state.name == "STOPPED"
    assert not is_running(pid)


def test_requests_with_the_real_model(settings, make_backend) -> None:
    """Encode once, cancel, two at once, give up waiting, be killed in the middle, restart: one life."""
    backend = make_backend(settings)
    encode = requests.encode(BALL, model=MODEL, device="cpu")
    stages = []
    encoded = backend.send(encode, on_progress=lambda job: stages.append(job.stage))
    shape = backend.wait(encoded, TIMEOUT).fields["shape"]
    assert "encode" in stages
    assert encoded.request.arrays == {}, "a finished job holds on to no mesh"
    assert backend.wait(backend.send(encode), TIMEOUT).fields["reused"] is True

    # Two at once: both are answered, in order.
    order = []
    click = requests.predict(shape, prompts.Points([[0, 0, 1]], [1]))
    jobs = [backend.send(click, on_done=order.append) for _ in range(2)]
    pump_until_final(backend, *jobs)
    assert order == jobs
    logits = [job.result().arrays["face_logits"] for job in jobs]
    np.testing.assert_array_equal(*logits)

    # Cancelled while it runs: the backend confirms and answers the next request.
    long = requests.segment_every_part(shape, prompts=4096)
    job = backend.send(long)
    wait_until(lambda: backend.pump() >= 0 and job.stage == "prompts")
    job.cancel()
    assert job.state is JobState.CANCELLING and not job.poll()
    wait_until(lambda: backend.pump() >= 0 and job.confirmed)
    assert job.state is JobState.CANCELLED
    with pytest.raises(Exception, match="cancelled"):
        job.result()
    backend.wait(backend.send(click), TIMEOUT)

    # Cancelled while it cannot hear: nobody waits for it, and it goes on when it hears again.
    job = backend.send(long)
    os.kill(backend.pid, signal.SIGSTOP)
    job.cancel()
    wait_until(lambda: backend.pump() >= 0 and job.poll())
    assert job.state is JobState.CANCELLED and not job.confirmed and backend.is_busy
    os.kill(backend.pid, signal.SIGCONT)
    backend.wait(backend.send(click), TIMEOUT)
    assert job.confirmed and not backend.is_busy

    # Killed while it computes, with another request waiting.
    waiting = [backend.send(long), backend.send(click)]
    wait_until(lambda: backend.pump() >= 0 and waiting[0].stage == "prompts")
    with pytest.raises(TimeoutError):
        backend.wait(waiting[0], 0.01)
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
    assert any("encode: done" in line for line in report.log_tail)
    assert str(backend.log_path) in report.text()
    with pytest.raises(backend_process.BackendDied):
        backend.send(click)

    backend.wait(backend.restart(), TIMEOUT)
    assert backend.state.name == "READY" and backend.crash is None
    with pytest.raises(backend_process.RequestFailed, match="encoded again") as failure:
        backend.wait(backend.send(click), TIMEOUT)
    assert failure.value.kind == "missing"


def test_a_callback_that_fails_does_not_stop_the_pump(settings, make_backend, caplog) -> None:
    backend = make_backend(settings)

    def fail(job: object) -> None:
        raise ValueError("in the callback")

    failing = backend.send(backend_process.Request("nonsense"), on_done=fail)
    unsendable = backend.send(backend_process.Request("nonsense", {"value": float("nan")}))
    last = backend.send(backend_process.Request("nonsense"))
    pump_until_final(backend, failing, unsendable, last)
    assert "in the callback" in caplog.text
    assert "cannot be sent" in str(unsendable.error)
    assert "not a request" in str(last.error)


def test_shutdown_is_bounded_even_if_the_backend_hangs(settings, make_backend) -> None:
    backend = make_backend(settings)
    job = backend.start()
    pid = backend.pid
    os.kill(pid, signal.SIGSTOP)
    backend.shutdown(grace=0.1)
    assert not is_running(pid)
    assert job.state is JobState.CANCELLED
    backend.shutdown()  # again, with nothing left to do
    assert backend.state.name == "STOPPED"


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (b"Usage: something else", "not a PartSAM message: it starts with b'Usage: s'"),
        (b"PSAM\2\0\0\0" + bytes(12), "version 2, this side version 1; update PartSAM"),
        (b"PSAM\1\0\0\0\xff\xff\xff\xff" + bytes(8), "exceeds the limit"),
        (b"PSAM\1\0\0\0\x10\0\0\0" + bytes(8) + b"{", "the stream ended within a message"),
    ],
    ids=["garbage", "version", "oversize", "truncated"],
)
def test_a_program_that_is_not_the_backend_is_reported(
    tmp_path: Path, make_backend, output: bytes, reason: str
) -> None:
    (tmp_path / "output").write_bytes(output)
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho 'library not found' >&2\ncat '{tmp_path}/output'\n")
    program.chmod(0o755)
    backend = make_backend(backend_process.BackendSettings(python=program, working_folder=tmp_path))
    job = backend.start()
    pump_until_final(backend, job)
    assert isinstance(job.error, backend_process.BackendDied)
    assert reason in backend.crash.summary
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
    summary = backend.crash.summary
    assert "incomplete: No module named 'numpy' (this is Python 3" in summary and "preferences" in summary


@pytest.mark.parametrize(
    ("exit_code", "cause"),
    [
        (None, "did not end, and was killed"),
        (0, "ended by itself"),
        (1, "exit code 1"),
        (70, "graphics device failed"),
        (-signal.SIGSEGV, "crashed in native code"),
        (-250, "ended by signal 250"),
        (0xC0000135, "a DLL was not found"),
    ],
)
def test_every_end_is_explained_with_the_next_step(exit_code: int | None, cause: str) -> None:
    sentence = load("backend_process.crash").explain_exit(exit_code)
    assert cause in sentence and sentence.endswith("press Restart Backend to go on.")


def test_the_log_rotates_and_old_logs_go(tmp_path: Path) -> None:
    log_file = load("backend_process.log_file")
    for number in range(20):
        (tmp_path / f"backend-old{number}.log").touch()
    log = log_file.BackendLog(tmp_path)
    log.open()
    for number in range(300):
        log.write_line(f"{number} " + "x" * 9000)
    log.close()
    log.write_line("after the end")
    assert log.tail()[-1] == "after the end" and len(log.tail()) == log_file.TAIL_LINES
    own = sorted(tmp_path.glob(f"backend-{os.getpid()}.log*"))
    assert len(own) == 1 + log_file.ROTATIONS
    assert all(path.stat().st_size <= log_file.ROTATE_BYTES for path in own)
    assert own[0].read_text().endswith("x\n")
    assert len(list(tmp_path.glob("backend-old*"))) == log_file.KEPT_LOGS


def test_a_log_that_cannot_be_written_costs_only_the_log(tmp_path: Path, settings, make_backend) -> None:
    (tmp_path / "backend").mkdir()
    (tmp_path / "backend" / "logs").write_text("a file where the folder should be")
    backend = make_backend(settings)
    with pytest.raises(backend_process.RequestFailed, match="not a request"):
        backend.wait(backend.send(backend_process.Request("nonsense")), TIMEOUT)
    wait_until(lambda: any("hello: done" in line for line in backend.log_tail()))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_does_not_stop_the_log_from_being_closed(tmp_path: Path) -> None:
    log = load("backend_process.log_file").BackendLog(tmp_path)
    log.path.symlink_to("/dev/full")
    log.open()
    log.write_line("starting")
    log.close()
    assert log.tail() == ("starting",)


def test_a_missing_python_is_reported(tmp_path: Path, make_backend) -> None:
    backend = make_backend(
        backend_process.BackendSettings(python=tmp_path / "nowhere", working_folder=tmp_path)
    )
    with pytest.raises(Exception, match=r"cannot be started.*preferences"):
        backend.send(requests.hello())
    assert backend.state.name == "STOPPED"


def test_it_runs_from_any_folder_and_writes_nothing_there(tmp_path: Path) -> None:
    """As an installed extension: another top package, a path with spaces, no search path."""
    folder = tmp_path / "ext ünd space" / "partsam"
    folder.mkdir(parents=True)
    for package in ("backend", "partsam_addon"):
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    code = f"""
        import importlib, os, sys, types
        from pathlib import Path
        os.environ.update(PYTHONHOME="/nonexistent", PYTHONPATH="/nonexistent")  # as some Blenders set
        folder, working_folder = Path({str(folder)!r}), Path({str(tmp_path)!r})
        for name, path in (("top", folder), ("top.partsam_addon", folder / "partsam_addon")):
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__path__ = [str(path)]
        process = importlib.import_module("top.partsam_addon.backend_process")
        print(sys.modules[process.__name__ + ".launching"].LAUNCHER)
        settings = process.BackendSettings(python=Path(sys.executable), working_folder=working_folder)
        backend = process.BackendProcess(settings)
        print(backend.wait(backend.start(), {TIMEOUT}).fields["backend"])
        backend.shutdown()
    """
    run = subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert run.returncode == 0, run.stderr
    launcher, version = run.stdout.splitlines()
    assert Path(launcher).is_relative_to(folder)
    assert version == "0.1.0"
    assert list((tmp_path / "pycache").rglob("server*.pyc"))
    assert not list(folder.rglob("__pycache__")), "nothing may be written into the extension's folder"


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


@pytest.mark.parametrize("ending", ["time.sleep(600)", "backend.wait(backend.start())"])
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


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="this system has no SIGPIPE")
def test_writing_to_a_dead_backend_does_not_kill_a_program_without_signal_handlers(tmp_path: Path) -> None:
    """Blender's Python does not ignore SIGPIPE as Python does by itself."""
    program = textwrap.dedent(
        f"""
        import signal, sys, time
        from pathlib import Path
        sys.path.insert(0, {str(ROOT / "tests")!r})
        from plain_addon import load
        connection_module = load("backend_process.connection")
        log = load("backend_process.log_file").BackendLog(Path({str(tmp_path / "log")!r}))
        protocol = sys.modules[connection_module.Message.__module__]
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        connection = connection_module.Connection([sys.executable, "-c", "pass"], log=log)
        connection.process.wait()
        for number in range(3):
            connection.send(protocol.Message("hello", number))
            time.sleep(0.1)
        connection.close(grace=1.0)
        print("alive")
        """
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT)
    assert result.returncode == 0, f"{result.returncode}: {result.stderr}"
    assert result.stdout.strip() == "alive"
