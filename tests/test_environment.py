# SPDX-License-Identifier: GPL-3.0-or-later
"""Making the backend's environment: real uv, real virtual environments, tiny packages, no internet."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plain_addon import ROOT, load
from tiny_wheel import REQUIREMENT, Index, serving, write_wheel

environment = load("environment")
faults = load("environment.faults")
graphics = load("environment.graphics")
errors = sys.modules[faults.PartSAMError.__module__]
BASE = Path(sys.executable)
UV = BASE.with_name("uv.exe" if os.name == "nt" else "uv")
PLAN = graphics.TorchPlan("cpu", "the CPU", "a test", 0, 2**20)
TIMEOUT = 180.0


@pytest.fixture(autouse=True)
def own_uv_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's uv: the tests reach 127.0.0.1 and files only, and wait for nothing long."""
    for name in [name for name in os.environ if name.upper().startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    for name, value in (("NO_CONFIG", "1"), ("HTTP_RETRIES", "0"), ("HTTP_TIMEOUT", "2")):
        monkeypatch.setenv(f"UV_{name}", value)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text(f"# a comment\n{REQUIREMENT}\n")
    return path


@pytest.fixture
def environments(tmp_path: Path):
    # A long and non-ASCII name, as users have: `C:\\Users\\...`
    return environment.EnvironmentFolder(tmp_path / ("Żółć " + "longname" * 8) / "PartSAM")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    with serving(write_wheel(tmp_path / "served")) as server:
        monkeypatch.setenv("UV_DEFAULT_INDEX", server.url)
        yield server


def settings_for(requirements: Path, packages: Path | None = None, **changes: object):
    values = {
        "requirements": requirements,
        "packages": packages,
        "modules": ("partsam_tiny",),
        "model": None,
        "base_python": BASE,
    }
    return environment.InstallSettings(UV, PLAN, **{**values, **changes})


def start(environments, settings, *, online: bool = True):
    return environment.Task(
        lambda progress: environment.install(environments, settings, progress, online_access=online)
    )


def install(environments, settings, *, online: bool = True):
    return start(environments, settings, online=online).wait(TIMEOUT)


def made(environments) -> list[str]:
    """What lies beside the tools: environments and the pointer."""
    names = sorted(path.name for path in environments.root.iterdir())
    return [name for name in names if name not in ("uv", "cache", "python", "install.lock")]


def forget_downloads(environments) -> None:
    """As if the packages had never been fetched."""
    subprocess.run([UV, "cache", "clean", "-q", f"--cache-dir={environments.root / 'cache'}"], check=True)


def works(python: Path) -> bool:
    return subprocess.run([python, "-I", "-c", "import partsam_tiny"]).returncode == 0


def test_an_environment_is_made_tried_and_then_used(tmp_path: Path, requirements: Path, environments) -> None:
    write_wheel(tmp_path / "wheels")
    assert environments.python() is None
    task = start(environments, settings_for(requirements, tmp_path / "wheels"), online=False)
    report = task.wait(TIMEOUT)
    assert report.is_usable and report.versions == {"partsam_tiny": "1.0"}
    assert any("partsam-tiny==1.0" in line for line in task.progress.lines)
    assert (task.progress.step, task.progress.fraction) == ("Done", 1.0)

    python = environments.python()
    assert python == report.interpreter and works(python)
    assert made(environments) == [python.parents[1].name, "environment.json"]
    assert environments.is_current(requirements) and environments.torch_build() == "cpu"
    requirements.write_text("partsam-tiny==1.1\n")
    assert not environments.is_current(requirements)

    # A second installation fails at its last step: the first stays in use, nothing half-made is left.
    write_wheel(tmp_path / "wheels", "raise RuntimeError('wrong processor')")
    forget_downloads(environments)
    requirements.write_text("partsam-tiny==1.0\n")
    settings = settings_for(requirements, tmp_path / "wheels")
    with pytest.raises(environment.InstallFailed, match=r"does not work: partsam_tiny .*wrong processor"):
        install(environments, settings)
    assert environments.python() == python and works(python)
    assert made(environments) == [python.parents[1].name, "environment.json"]

    environments.remove_all()
    assert environments.python() is None and made(environments) == []
    assert [path.name for path in environments.root.iterdir()] == ["install.lock"]


def test_packages_come_from_an_index_only_with_leave(
    requirements: Path, environments, index: Index, monkeypatch
) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", "/nonexistent")  # a user's settings that would divert the packages
    monkeypatch.setenv("UV_PYTHON", "2.7")
    settings = settings_for(requirements)
    with pytest.raises(environment.InstallFailed, match="online access is off"):
        install(environments, settings, online=False)
    assert not environments.root.exists()
    assert install(environments, settings).is_usable


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("stall", "stopped answering"),
        ("truncate", "damaged or cut off"),
        ("damage", "damaged or cut off"),
        ("403", r"refused \(401 or 403\)"),
        ("407", "proxy wants a name and a password"),
        ("hash", "wrong hash"),
    ],
)
def test_a_faulty_index_is_named_and_leaves_what_was(
    requirements: Path, environments, index: Index, fault: str, reason: str
) -> None:
    install(environments, settings_for(requirements, index.wheel.parent), online=False)
    before = environments.python()
    if fault == "hash":
        requirements.write_text(f"{REQUIREMENT} --hash=sha256:{'0' * 64}\n")
    else:
        index.fault = fault
    forget_downloads(environments)
    with pytest.raises(environment.InstallFailed, match=reason) as failure:
        install(environments, settings_for(requirements))
    assert any("partsam" in line for line in failure.value.lines), "the last lines of uv's output are kept"
    assert environments.python() == before and works(before)
    assert made(environments) == [before.parents[1].name, "environment.json"]


def test_an_unreachable_index_and_proxy_are_named(requirements: Path, environments, monkeypatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/")  # nobody listens
    with pytest.raises(environment.InstallFailed, match="could not be reached"):
        install(environments, settings_for(requirements))
    assert environments.python() is None and made(environments) == []


def test_a_proxy_that_wants_a_password_is_named(
    requirements: Path, environments, index: Index, monkeypatch
) -> None:
    index.fault = "407"
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTP_PROXY", index.url)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://packages.invalid/")
    with pytest.raises(environment.InstallFailed, match="HTTPS_PROXY=http://NAME:PASSWORD"):
        install(environments, settings_for(requirements))


UV_UNDER_A_SCANNER = """#!/bin/sh
case " $* " in
  *" pip "*) [ -e {held} ] || {{ touch {held}; echo "error: failed to rename (os error 32)"; exit 2; }} ;;
esac
exec {uv} "$@"
"""


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for uv")
def test_a_file_that_a_scanner_holds_is_tried_again(
    requirements: Path, environments, index: Index, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(load("environment.install"), "RETRY_SECONDS", 0.0)
    scanned = tmp_path / "uv"
    scanned.write_text(UV_UNDER_A_SCANNER.format(held=tmp_path / "held", uv=UV))
    settings = settings_for(requirements)
    task = start(environments, dataclasses.replace(settings, uv=scanned))
    assert task.wait(TIMEOUT).is_usable
    assert "A file is held by another program; trying again" in task.progress.lines


def test_without_uvs_own_python_another_is_used(
    requirements: Path, environments, index: Index, monkeypatch
) -> None:
    monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", index.url)  # has none: 404
    task = start(environments, settings_for(requirements, base_python=None))
    assert task.wait(TIMEOUT).is_usable
    assert any(line.startswith("No Python of its own:") for line in task.progress.lines)


def test_cancelling_ends_the_download_at_once(requirements: Path, environments, index: Index) -> None:
    index.fault = "stall"
    task = start(environments, settings_for(requirements))
    assert index.asked.wait(TIMEOUT)
    task.cancel()
    with pytest.raises(errors.Cancelled):
        task.wait(TIMEOUT)
    assert environments.python() is None and made(environments) == []
    assert not processes_of(environments.root)


def test_two_blenders_do_not_collide(requirements: Path, environments, index: Index) -> None:
    index.fault = "stall"
    first = start(environments, settings_for(requirements))
    assert index.asked.wait(TIMEOUT)
    with pytest.raises(errors.PartSAMError, match="Another Blender is setting up"):
        install(environments, settings_for(requirements))
    index.fault = ""
    index.released.set()
    with contextlib.suppress(environment.InstallFailed):
        first.wait(TIMEOUT)
    assert install(environments, settings_for(requirements)).is_usable


INSTALL_AND_DIE = """
    import sys
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    from plain_addon import load
    environment = load("environment")
    settings = environment.InstallSettings(
        Path({uv!r}),
        environment.TorchPlan("cpu", "the CPU", "a test", 0, 2**20),
        requirements=Path({requirements!r}),
        packages=Path({packages!r}),
        modules=("partsam_tiny",),
        model=None,
        base_python=Path(sys.executable),
    )
    folder = environment.EnvironmentFolder(Path({root!r}))
    print("started", flush=True)
    install = lambda progress: environment.install(folder, settings, progress, online_access=False)
    task = environment.Task(install)
    task.wait({seconds})
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for left processes in /proc")
def test_killed_at_any_moment_it_never_looks_ready_and_is_not(
    tmp_path: Path, requirements: Path, environments
) -> None:
    """Twenty times: the program that stands for Blender is killed at a random moment of the installation."""
    packages = write_wheel(tmp_path / "wheels").parent
    code = INSTALL_AND_DIE.format(
        tests=str(ROOT / "tests"),
        root=str(environments.root),
        requirements=str(requirements),
        packages=str(packages),
        uv=str(UV),
        seconds=TIMEOUT,
    )
    command = [sys.executable, "-c", textwrap.dedent(code)]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    whole, chance = time.monotonic() - began, random.Random(7)
    survived = 0
    for _ in range(20):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as blender:
            blender.stdout.readline()
            time.sleep(chance.uniform(0.0, whole))
            blender.send_signal(signal.SIGKILL)
        wait_until(lambda: not processes_of(environments.root))
        python = environments.python()
        survived += python is not None
        assert python is None or works(python)
    assert survived == 20, "the environment from before stays in use"
    install(environments, settings_for(requirements, packages), online=False)
    assert made(environments) == [environments.python().parents[1].name, "environment.json"]


def test_too_small_a_disk_is_named_before_anything_is_written(requirements: Path, environments) -> None:
    settings = settings_for(requirements, requirements.parent)
    plan = graphics.TorchPlan("cpu", "the CPU", "a test", 0, 10**18)
    settings = environment.InstallSettings(settings.uv, plan, packages=requirements.parent)
    with pytest.raises(environment.InstallFailed, match=r"Not enough disk space: about 1000000000\.0 GB"):
        install(environments, settings)
    assert made(environments) == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of a Unix")
def test_a_folder_that_cannot_be_written_is_named(requirements: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    environments = environment.EnvironmentFolder(tmp_path / "file" / "PartSAM")
    with pytest.raises(environment.InstallFailed):
        install(environments, settings_for(requirements, tmp_path))


def test_a_broken_base_python_is_named(requirements: Path, environments, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_bytes(b"#!/bin/sh\nprintf '\\377\\376 nonsense'; exit 3\n")
    broken.chmod(0o755)
    with pytest.raises(environment.InstallFailed, match="does not work"):
        install(environments, settings_for(requirements, tmp_path, base_python=broken))
    assert made(environments) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("  cause: failed to write file: No space left on device (os error 28)", "disk is full"),
        ("The filename or extension is too long. (os error 206)", "too long for Windows"),
        ("  cause: failed to create directory: Permission denied (os error 13)", "cannot be written to"),
        ("  cause: invalid peer certificate: UnknownIssuer", "certificate was not accepted"),
        ("  cause: tunnel error: proxy authentication required", "name and a password"),
        ("  cause: dns error", "could not be reached"),
        ("  The process cannot access the file (os error 32)", "held by another program"),
        ("  cause: Exec format error (os error 8)", "another kind of processor"),
        ("  torch==2.13.0 has no wheels with a matching Python ABI tag", "Intel Macs"),
        ("  (you're using glibc 2.17) GLIBC_2.28 not found", "too old for PyTorch"),
        ("error: something new", "Setting up failed: error: something new"),
    ],
)
def test_what_uv_prints_becomes_a_next_step(line: str, reason: str) -> None:
    assert reason in faults.explain_failure(["Resolved 14 packages", line, "a last word"])


@pytest.mark.parametrize(
    ("problem", "remedy"),
    [
        ("torch cannot be imported (OSError: [WinError 126] ...)", "Visual C++ Redistributable"),
        ("torch cannot be imported (ImportError: /lib/libc.so.6: GLIBC_2.28 not found)", "too old"),
        ("scipy cannot be imported (ImportError: dlopen: incompatible architecture)", "another kind of"),
        ("the cuda device does not work (CUDA driver version is insufficient)", "update it"),
        ("something new", "something new"),
    ],
)
def test_what_a_library_says_gets_its_remedy(problem: str, remedy: str) -> None:
    assert problem in faults.hinted(problem) and remedy in faults.hinted(problem)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"folder": 3}', '{"folder": "../.."}', '{"folder": "env-gone"}']
)
def test_a_damaged_pointer_means_no_environment(environments, content: str) -> None:
    environments.root.mkdir(parents=True)
    (environments.root / "environment.json").write_text(content)
    assert environments.python() is None


def test_uv_is_copied_and_may_be_run(tmp_path: Path) -> None:
    unpacked = tmp_path / "site-packages" / "uv-0.0.data" / "scripts" / UV.name
    unpacked.parent.mkdir(parents=True)
    unpacked.write_bytes(UV.read_bytes())
    unpacked.chmod(0o644)  # as Blender leaves it
    found = environment.find_uv(["", str(tmp_path / "nowhere"), str(tmp_path / "site-packages")])
    assert found == unpacked
    copy = load("environment.install").own_uv(found, tmp_path / "machine")
    assert subprocess.run([copy, "--version"], capture_output=True, check=True).stdout.startswith(b"uv ")
    assert environment.find_uv([str(tmp_path)]) is None


def test_the_check_says_what_is_broken(tmp_path: Path) -> None:
    def check(path: Path, **options: object):
        return environment.check_environment(environment.BackendPython(path), **options)

    report = check(BASE, modules=("json", "no_such_module"), model=None)
    assert report.problems == (
        "no_such_module cannot be imported (ModuleNotFoundError: No module named 'no_such_module')",
    )
    assert "there is no Python at" in check(tmp_path / "x").problems[0]
    script = tmp_path / "python"
    for printed, expected in (
        ("kill -ILL $$", "processor is too old"),
        ("printf '\\377\\376\\n'", "it stopped with code 0"),
        ("echo '[1]'", "it stopped with code 0"),
        ("echo '{\"problems\": 3}'", "it stopped with code 0"),
    ):
        script.write_text(f"#!/bin/sh\n{printed}\n")
        script.chmod(0o755)
        assert expected in check(script).problems[0]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for left processes in /proc")
def test_a_check_that_hangs_is_cancelled_or_given_up(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/started; exec sleep 1000\n")
    script.chmod(0o755)
    python = environment.BackendPython(script)
    task = environment.Task(lambda progress: environment.check_environment(python, progress=progress))
    wait_until((tmp_path / "started").exists)
    task.cancel()
    with pytest.raises(errors.Cancelled):
        task.wait(TIMEOUT)
    report = environment.check_environment(python, timeout=0.2)
    assert report.problems == ("it did not answer within 0 seconds",)
    assert not processes_of(tmp_path)


def test_a_folder_of_unpacked_wheels_comes_after_the_pythons_own(tmp_path: Path) -> None:
    """Other extensions unpack theirs there too: the interpreter's own numpy must win."""
    for name in ("numpy.py", "partsam_tiny.py"):
        (tmp_path / name).write_text("__version__ = 'of another extension'\n")
    python = environment.BackendPython(BASE, tmp_path)
    report = environment.check_environment(python, modules=("numpy", "partsam_tiny"), model=None)
    assert report.is_usable
    assert report.versions["numpy"] != report.versions["partsam_tiny"] == "of another extension"


def processes_of(folder: Path) -> list[str]:
    """Command lines of running processes that name `folder`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if str(folder) in text:
            found.append(text)
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)
