#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""One command each for the demo, the tests, the checks and the extension's zip.

    python dev.py demo                    segment a mesh in headless Blender; writes demo_output/
    python dev.py test                    all checks and tests; --only backend|blender|window|lint
    python dev.py test -- -k granularity  arguments after -- go to pytest
    python dev.py lint                    ruff and mypy only
    python dev.py fuzz --minutes 10       damaged mesh files from a fresh seed; none may break the readers
    python dev.py build                   the extension's zips in build/; --kind light --platform linux-x64
    python dev.py wheels                  fetch the wheels that they bring into wheels/

Needs nothing but Python 3.11: each command makes the virtual environments it uses, or reuses them
until their requirement files change.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dev_tools import wheels
from dev_tools.wheels import WheelsMissing
from dev_tools.zips import FULL, LIGHT, Builder, describe

ROOT = Path(__file__).resolve().parent
ARTIFACTS = ROOT / "test_artifacts"
BACKEND_PYTHON_VARIABLE = "PARTSAM_BACKEND_PYTHON"  # where the add-on finds torch
SUITE_TIMEOUT = (
    2400.0  # seconds; a suite takes minutes, a hanging one must end before the machine is taken away
)


@dataclass(frozen=True)
class Environment:
    """A virtual environment in the repository and the file that says what belongs in it."""

    folder: str
    requirements: str

    @property
    def python(self) -> Path:
        inside = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
        return ROOT.joinpath(self.folder, *inside)

    def ready(self) -> Path:
        """Make, update or reuse the environment; its Python."""
        stamp = ROOT / self.folder / ".requirements-sha256"
        wanted = hashlib.sha256(b"".join(_requirement_texts(ROOT / self.requirements))).hexdigest()
        works = self.python.exists() and subprocess.run([self.python, "-c", ""]).returncode == 0
        if works and stamp.is_file() and stamp.read_text() == wanted:
            return self.python
        if not works:
            run([_python_311(), "-m", "venv", "--clear", self.folder], check=True)
        # --no-compile: Python compiles what it imports; compiling all of torch costs half a minute.
        run([self.python, "-m", "pip", "install", "-q", "--no-compile", "-r", self.requirements], check=True)
        stamp.write_text(wanted)
        return self.python


BACKEND = Environment(".venv", "tests/requirements.txt")
BLENDER = {
    "4.5": Environment(".venv-bpy45", "tests/requirements-bpy45.txt"),
    "4.2": Environment(".venv-bpy42", "tests/requirements-bpy42.txt"),
    "5.0": Environment(".venv-bpy50", "tests/requirements-bpy50.txt"),
}
KINDS = ("lint", "backend", "blender", "window")


@dataclass(frozen=True)
class Outcome:
    """What a check or a test suite came to."""

    name: str
    passed: int
    failed: int
    skipped: int
    seconds: float


def run(
    command: Sequence[str | Path],
    *,
    check: bool = False,
    timeout: float | None = None,
    log: Path | None = None,
) -> int:
    """Run a command in the repository's root; the exit status, 124 after `timeout`.

    Its output is shown, or kept in `log` and shown at its end.
    """
    print("$", shlex.join(str(part) for part in command), flush=True)
    try:
        if log is None:
            return subprocess.run(command, cwd=ROOT, check=check, timeout=timeout).returncode
        with log.open("wb") as output:
            return subprocess.run(
                command, cwd=ROOT, check=check, timeout=timeout, stdout=output, stderr=subprocess.STDOUT
            ).returncode
    except subprocess.TimeoutExpired:
        print(f"stopped after {timeout:.0f} s", file=sys.stderr)
        return 124
    finally:
        if log is not None:
            print(f"--- {log.stem}\n{log.read_text(encoding='utf-8', errors='replace')}", flush=True)


def _requirement_texts(path: Path) -> Iterator[bytes]:
    """The file's text, and that of each file which it includes by `-r`."""
    text = path.read_bytes()
    yield text
    for line in text.decode().splitlines():
        if line.startswith("-r "):
            yield from _requirement_texts(path.parent / line.removeprefix("-r ").strip())


def _python_311() -> str:
    """A Python 3.11: Blender's module exists for no other."""
    if sys.version_info[:2] == (3, 11):
        return sys.executable
    found = shutil.which("python3.11")
    if found is None:
        raise SystemExit("Python 3.11 is needed: the bpy wheels exist for no other")
    return found


def _check(name: str, command: Sequence[str | Path]) -> Outcome:
    start = time.monotonic()
    ok = run(command, timeout=SUITE_TIMEOUT) == 0
    return Outcome(name, int(ok), int(not ok), 0, time.monotonic() - start)


def _pytest(name: str, environment: Environment, arguments: Sequence[str], *, live: bool) -> Outcome:
    """Run pytest in the environment and count from its report; a suite that broke off counts as failed.

    live: show the output as it comes, instead of at the end
    """
    python = environment.ready()
    ARTIFACTS.mkdir(exist_ok=True)
    report = ARTIFACTS / f"{name.replace(' ', '-')}.xml"
    report.unlink(missing_ok=True)
    start = time.monotonic()
    command: list[str | Path] = [python, "-m", "pytest", "--durations=5", f"--junitxml={report}", *arguments]
    status = run(command, timeout=SUITE_TIMEOUT, log=None if live else report.with_suffix(".log"))
    seconds = time.monotonic() - start
    if not report.is_file():
        return Outcome(name, 0, 1, 0, seconds)
    suites = ElementTree.parse(report).getroot().findall("testsuite")
    keys = ("tests", "failures", "errors", "skipped")
    tests, failures, errors, skipped = (sum(int(suite.get(key, "0")) for suite in suites) for key in keys)
    failed = failures + errors
    # pytest: 0 all passed, 1 some failed. All else (a crash at exit, nothing collected) is a failure too.
    broke = int(status != 0 and failed == 0)
    return Outcome(name, max(tests - failed - skipped, 0), failed + broke, skipped, seconds)


def _lint() -> list[Outcome]:
    python = BACKEND.ready()
    with tempfile.TemporaryDirectory() as folder:
        # The repository is the package that Blender imports, whatever the name of its folder: mypy
        # needs to see it under a name that is valid in Python.
        package = ROOT if ROOT.name.isidentifier() else Path(folder, "partsam")
        if package != ROOT:
            package.symlink_to(ROOT, target_is_directory=True)
        sources = [package / name for name in ("backend", "partsam_addon", "docs/demo")]
        return [
            _check("ruff check", [python, "-m", "ruff", "check", "."]),
            _check("ruff format", [python, "-m", "ruff", "format", "--check", "."]),
            _check("mypy", [python, "-m", "mypy", *sources]),
            _check("mypy dev", [python, "-m", "mypy", "--explicit-package-bases", "dev.py", "dev_tools"]),
        ]


def _report(outcomes: Sequence[Outcome], *, seconds: float) -> int:
    """Print a table and the closing line; 0 if nothing failed."""
    print()
    for outcome in outcomes:
        verdict = "FAILED" if outcome.failed else "ok"
        counts = f"{outcome.passed:5} passed {outcome.failed:3} failed {outcome.skipped:3} skipped"
        print(f"{outcome.name:14} {counts} {outcome.seconds:7.1f} s  {verdict}")
    passed, failed, skipped = (
        sum(getattr(outcome, key) for outcome in outcomes) for key in ("passed", "failed", "skipped")
    )
    print(f"{passed} passed, {failed} failed, {skipped} skipped in {seconds:.1f}s")
    return int(failed > 0)


def _suites(options: argparse.Namespace) -> Iterator[list[tuple[str, Environment, str]]]:
    """Name, environment and marker expression of the chosen test suites, in two lanes of equal length."""
    if "backend" in options.only:
        yield [("backend", BACKEND, "not blender and not window")]
    versions = options.blender if "blender" in options.only else []
    lane = [(f"blender {version}", BLENDER[version], "blender") for version in versions]
    if "window" in options.only:
        lane.append(("window", BACKEND, "window"))
    if lane:
        yield lane


def command_test(options: argparse.Namespace) -> int:
    start = time.monotonic()
    os.environ[BACKEND_PYTHON_VARIABLE] = str(BACKEND.ready())
    outcomes = _lint() if "lint" in options.only else []
    if "window" in options.only:
        build()
    if "blender" in options.only and sys.platform == "linux":
        _build_tested_zips()
    lanes = list(_suites(options))

    def run_lane(lane: list[tuple[str, Environment, str]]) -> list[Outcome]:
        extra = options.pytest_arguments
        return [
            _pytest(name, environment, ["-m", marker, *extra], live=len(lanes) == 1)
            for name, environment, marker in lane
        ]

    # Side by side: most of a suite is one thread's work, or waiting for a process.
    with ThreadPoolExecutor() as pool:
        for found in pool.map(run_lane, lanes):
            outcomes += found
    return _report(outcomes, seconds=time.monotonic() - start)


def command_lint(_options: argparse.Namespace) -> int:
    start = time.monotonic()
    return _report(_lint(), seconds=time.monotonic() - start)


def _builder(website: str = "") -> Builder:
    python = BLENDER["4.5"].ready()
    tool = next((ROOT / BLENDER["4.5"].folder).glob("**/site-packages/bpy/4.5/**/bl_pkg/cli/blender_ext.py"))
    return Builder([python, tool], ROOT / "build", website=website)


def build() -> Path:
    """Build the plain zip, which the tests and the demo use; its path."""
    return _builder().plain()


def _build_tested_zips() -> None:
    """The zips that the Blender tests install; where their wheels cannot be had, those tests are skipped."""
    for kind in (FULL[0], LIGHT):
        try:
            _builder().build(kind, ["linux-x64"])
        except WheelsMissing as error:
            print(f"no zip {kind.suffix}: {error}", file=sys.stderr)


def command_build(options: argparse.Namespace) -> int:
    if options.plain:
        print(describe(build()))
        return 0
    builder, made, missing = _builder(options.website), [], []
    kinds = ([*FULL] if options.kind != "light" else []) + ([LIGHT] if options.kind != "full" else [])
    for kind in kinds:
        for platform in options.platform:
            try:
                made += builder.build(kind, [platform])
            except WheelsMissing as error:
                missing.append(f"{kind.suffix} for {platform} was not built:\n{error}")
    if options.repository:
        print(f"{builder.repository(made).relative_to(ROOT)}: to be put on a web server")
    print("\n".join([*map(describe, made), *missing]))
    return int(bool(missing))


def command_wheels(options: argparse.Namespace) -> int:
    try:
        if options.lock:
            os.environ["PATH"] = os.pathsep.join([str(BACKEND.ready().parent), os.environ["PATH"]])  # uv
            wheels.lock_requirements()
            wheels.lock(BACKEND.ready())
        else:
            wheels.fetch(wheels.locked(), BACKEND.ready())
    except WheelsMissing as error:
        print(f"not fetched:\n{error}", file=sys.stderr)
        return 1
    for wheel in wheels.locked():
        print(f"{wheel.size / 1e6:8.1f} MB  {wheel.sha256[:12]}  {wheel.file}")
    return 0


def command_demo(options: argparse.Namespace) -> int:
    backend = BACKEND.ready()
    extension = build()
    os.environ[BACKEND_PYTHON_VARIABLE] = str(backend)
    return run([BLENDER["4.5"].python, "docs/demo/demo.py", "--extension", extension, *options.arguments])


def command_fuzz(options: argparse.Namespace) -> int:
    return run([BACKEND.ready(), "tests/fuzz_mesh_files.py", "--minutes", str(options.minutes)])


def parse_arguments() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="segment a mesh in headless Blender; writes demo_output/")
    demo.set_defaults(run=command_demo)
    demo.add_argument("arguments", nargs="*", metavar="-- ARGUMENT", help="arguments for docs/demo/demo.py")
    test = commands.add_parser("test", help="run all checks and tests")
    test.set_defaults(run=command_test)
    test.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="default: all")
    test.add_argument("--blender", nargs="+", choices=[*BLENDER], default=[*BLENDER], help="default: all")
    test.add_argument("pytest_arguments", nargs="*", metavar="-- ARGUMENT", help="arguments for pytest")
    commands.add_parser("lint", help="run ruff and mypy").set_defaults(run=command_lint)
    fuzz = commands.add_parser("fuzz", help="damage mesh files at random and read them")
    fuzz.set_defaults(run=command_fuzz)
    fuzz.add_argument("--minutes", type=float, default=1.0, help="default: %(default)s")
    make = commands.add_parser("build", help="build the extension's zips")
    make.set_defaults(run=command_build)
    make.add_argument("--plain", action="store_true", help="only the zip without wheels; needs no network")
    make.add_argument("--kind", choices=("full", "light", "all"), default="all", help="default: %(default)s")
    platforms = wheels.pins()["platforms"]
    make.add_argument("--platform", nargs="+", choices=platforms, default=platforms, help="default: all")
    make.add_argument(
        "--website", default="", metavar="URL", help="for the manifests: where this is published"
    )
    make.add_argument("--repository", action="store_true", help="also a folder for a web server, for updates")
    fetching = commands.add_parser("wheels", help="fetch the locked wheels into wheels/")
    fetching.set_defaults(run=command_wheels)
    fetching.add_argument("--lock", action="store_true", help="write both lock files anew from pins")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    try:
        return int(options.run(options))
    except subprocess.CalledProcessError as error:
        print(f"{Path(str(error.cmd[0])).name} ended with status {error.returncode}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
