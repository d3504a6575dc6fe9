# SPDX-License-Identifier: GPL-3.0-or-later
"""Making the backend's environment: real virtual environments, real pip, tiny packages, no internet."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from plain_addon import load

environment = load("environment")
errors = load("environment.install_errors")
InstallSettings = environment.InstallSettings
BASE = Path(sys.executable)
TIMEOUT = 180.0


def write_wheel(folder: Path, code: str = "__version__ = '1.0'\n") -> Path:
    """A wheel of a package `partsam_tiny` that holds `code`."""
    files = {
        "partsam_tiny.py": code,
        "partsam_tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: partsam-tiny\nVersion: 1.0\n",
        "partsam_tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},"
        f"{len(text)}\n"
        for name, text in files.items()
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "partsam_tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr("partsam_tiny-1.0.dist-info/RECORD", record + "partsam_tiny-1.0.dist-info/RECORD,,\n")
    return path


@pytest.fixture(autouse=True)
def own_pip_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's pip: the tests reach 127.0.0.1 and files only."""
    for name in [name for name in os.environ if name.upper().startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text("# a comment\npartsam-tiny==1.0\n")
    return path


@pytest.fixture
def environments(tmp_path: Path) -> object:
    return environment.EnvironmentFolder(tmp_path / "user folder" / "environments")


def settings_for(requirements: Path, packages: Path | None, **changes: object) -> object:
    values = {
        "compute": environment.Compute.NVIDIA,  # on Linux: no second index
        "requirements": requirements,
        "packages": packages,
        "modules": ("partsam_tiny",),
        "space": 2**20,
    }
    return InstallSettings(BASE, **{**values, **changes})


def install(environments: object, settings: object, *, online: bool = False) -> object:
    return environment.start_install(environments, settings, online_access=online).wait(TIMEOUT)


def folders(environments: object) -> list[str]:
    return sorted(path.name for path in environments.root.iterdir())


def test_an_environment_is_made_checked_and_then_used(
    tmp_path: Path, requirements: Path, environments
) -> None:
    write_wheel(tmp_path / "wheels")
    assert environments.python() is None
    task = environment.start_install(
        environments, settings_for(requirements, tmp_path / "wheels"), online_access=False
    )
    report = task.wait(TIMEOUT)
    assert report.is_usable and report.versions == {"partsam_tiny": "1.0"}
    assert any("Successfully installed partsam-tiny" in line for line in task.progress.lines)
    assert (task.progress.step, task.progress.fraction) == ("Done", 1.0)

    python = environments.python()
    assert python == report.interpreter
    code = "import partsam_tiny, sys; print(sys.prefix)"
    run = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert Path(run.stdout.strip()) == python.parents[1]
    assert folders(environments) == [python.parents[1].name, "environment.json"]
    assert environments.is_current(requirements)
    requirements.write_text("partsam-tiny==1.1\n")
    assert not environments.is_current(requirements)

    # A second installation fails at its last step: the first stays in use, nothing half-made is left.
    write_wheel(tmp_path / "wheels", "raise RuntimeError('wrong processor')")
    requirements.write_text("partsam-tiny==1.0\n")
    with pytest.raises(environment.InstallFailed, match=r"do not work: partsam_tiny .*wrong processor"):
        install(environments, settings_for(requirements, tmp_path / "wheels"))
    assert environments.python() == python
    assert folders(environments) == [python.parents[1].name, "environment.json"]

    environments.remove_all()
    assert environments.python() is None and folders(environments) == []


class SimpleIndex(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def package_index(tmp_path: Path) -> Iterator[str]:
    """A package server on 127.0.0.1."""
    write_wheel(tmp_path / "index" / "partsam-tiny")
    handler = partial(SimpleIndex, directory=str(tmp_path / "index"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_packages_come_from_an_index_only_with_leave(
    requirements: Path, environments, package_index: str, monkeypatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", package_index)
    monkeypatch.setenv("PIP_TARGET", "/nonexistent")  # a user's setting that would divert the packages
    settings = settings_for(requirements, None)
    with pytest.raises(environment.InstallFailed, match="online access is off"):
        install(environments, settings)
    assert not environments.root.exists()
    assert install(environments, settings, online=True).is_usable


def test_an_unreachable_index_is_named(requirements: Path, environments, monkeypatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{unused.getsockname()[1]}/")
        with pytest.raises(environment.InstallFailed, match="could not be reached") as failure:
            install(environments, settings_for(requirements, None), online=True)
    assert "partsam-tiny" in failure.value.text()
    assert environments.python() is None and folders(environments) == []


def test_a_hanging_installation_is_cancelled_with_its_processes(
    requirements: Path, environments, monkeypatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        task = environment.start_install(environments, settings_for(requirements, None), online_access=True)
        silent.settimeout(TIMEOUT)
        connection, _ = silent.accept()  # pip waits for an answer
        with connection:
            task.cancel()
            with pytest.raises(Exception, match="cancelled"):
                task.wait(TIMEOUT)
            connection.settimeout(TIMEOUT)
            while connection.recv(4096):  # ends when pip's process has ended
                pass
    assert environments.python() is None and folders(environments) == []


def test_too_small_a_disk_is_named_before_anything_is_written(
    requirements: Path, environments, tmp_path
) -> None:
    settings = settings_for(requirements, tmp_path, space=10**18)
    with pytest.raises(environment.InstallFailed, match=r"Not enough disk space: about 931322574\.6 GB"):
        install(environments, settings)
    assert folders(environments) == []


def test_a_base_that_cannot_make_environments_is_named(requirements: Path, environments, tmp_path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\necho 'Error: No module named venv'; exit 1\n")
    (tmp_path / "python").chmod(0o755)
    settings = settings_for(requirements, tmp_path)
    broken = InstallSettings(tmp_path / "python", requirements=requirements, packages=tmp_path, space=1)
    with pytest.raises(environment.InstallFailed, match="cannot make virtual environments"):
        install(environments, broken)
    missing = InstallSettings(tmp_path / "nowhere", requirements=requirements, packages=tmp_path, space=1)
    with pytest.raises(environment.InstallFailed, match="nowhere"):
        install(environments, missing)
    assert folders(environments) == [] and settings.needs_network is False


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "disk is full",
        ),
        (
            "ERROR: No matching distribution found for torch==2.13.0",
            "no package torch==2.13.0 for this Python",
        ),
        ("[WinError 206] The filename or extension is too long", "too long for Windows"),
        ("OSError: [Errno 13] Permission denied: '/x'", "cannot be written to"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'", "certificate"),
        ("ERROR: something new", "The installation failed: ERROR: something new"),
    ],
)
def test_what_pip_prints_becomes_a_next_step(line: str, reason: str) -> None:
    assert reason in errors.explain_failure(["Collecting torch", line, "a last word"])


def test_an_interrupted_build_is_never_used_and_later_removed(tmp_path: Path, environments) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("x\n")
    folder = environments.begin()
    (folder / "bin").mkdir()
    (folder / "bin" / "python").touch()
    assert environments.python() is None  # Blender was killed here
    environments.remove_unused()
    assert folder.exists(), "another Blender may be at work in it"
    long_ago = time.time() - 100_000
    os.utime(folder / "unfinished", (long_ago, long_ago))
    environments.remove_unused()
    assert not folder.exists()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"folder": 3}', '{"folder": "../.."}', '{"folder": "env-gone"}']
)
def test_a_damaged_pointer_means_no_environment(environments, content: str) -> None:
    environments.root.mkdir(parents=True)
    (environments.root / "environment.json").write_text(content)
    assert environments.python() is None


def test_pythons_are_found_and_judged(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'no such thing' >&2\n")
    script.chmod(0o755)
    assert "no such thing" in environment.probe_python(script).problem
    assert environment.probe_python(tmp_path / "nowhere").problem.startswith("it cannot be started")
    script.write_text(f"#!/bin/sh\necho '{json.dumps([sys.executable, [3, 9, 1], 64, []])}'\n")
    assert "3.11 to 3.13 is needed" in environment.probe_python(script).problem
    script.write_text(f"#!/bin/sh\necho '{json.dumps(['', [3, 11, 0], 64, ['ensurepip']])}'\n")
    assert "lacks the standard module ensurepip" in environment.probe_python(script).problem

    candidates = environment.find_pythons(BASE)
    assert BASE in [candidate.path for candidate in candidates if candidate.is_usable]
    usable = [candidate.is_usable for candidate in candidates]
    assert usable == sorted(usable, reverse=True)


def test_the_check_reports_python_torch_device_and_memory() -> None:
    report = environment.check_environment(BASE)
    assert report.is_usable, report.problems
    assert report.versions["torch"] and report.device
    assert f"Python {sys.version.split()[0]}" in report.lines()


def test_the_check_says_what_is_broken(tmp_path: Path) -> None:
    report = environment.check_environment(BASE, modules=("json", "no_such_module"))
    assert report.problems == (
        "no_such_module cannot be imported (ModuleNotFoundError: No module named 'no_such_module')",
    )
    assert "there is no Python at" in environment.check_environment(tmp_path / "x").problems[0]
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'Illegal instruction' >&2\nexit 132\n")
    script.chmod(0o755)
    assert "processor is too old" in environment.check_environment(script).problems[0]


def test_the_manual_way_is_the_same_installation() -> None:
    settings = InstallSettings(BASE, compute=environment.Compute.CPU)
    first, second = environment.manual_instructions(settings, Path("/some folder")).splitlines()
    assert first.endswith("-m venv '/some folder'")
    assert "-m pip install" in second and str(environment.REQUIREMENTS) in second


def test_the_requirements_are_what_the_tests_run_with() -> None:
    """The pinned versions are the ones that everything here is tested against."""
    from importlib.metadata import version

    lines = environment.REQUIREMENTS.read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    for name, pinned in pins.items():
        assert version(name).split("+")[0] == pinned, name
