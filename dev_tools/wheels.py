# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheels that the zips bring: which (`wheels/pins.toml`), exactly which (`lock.toml`), and fetching them.

pip fetches and checks the hashes. Wheels lie in `wheels/`, untracked.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "wheels"
LOCK = FOLDER / "lock.toml"
ANY = "any"
FETCHERS = 4
REQUIREMENTS = FOLDER.parent / "backend" / "requirements.txt"
REQUIREMENTS_LOCK = REQUIREMENTS.with_suffix(".lock")
TORCH_NEEDS = ("filelock", "fsspec", "jinja2", "networkx", "setuptools<82", "sympy", "typing-extensions")
HEADER_LOCK = "# Made by `python dev.py wheels --lock` from requirements.txt; do not edit.\n"
HEADER = "# Made by `python dev.py wheels --lock` from pins.toml; do not edit.\n"


@dataclass(frozen=True)
class Wheel:
    """A locked wheel.

    platform: Blender's name, or "any"; python: "3.11", or "any"; zips: "full" or "both"
    size: bytes; longest_path: characters of the longest path inside; 0 where it could not be measured
    """

    name: str
    version: str
    platform: str
    python: str
    zips: str
    file: str
    sha256: str
    size: int = 0
    longest_path: int = 0

    @property
    def path(self) -> Path:
        return FOLDER / self.file

    def fits(self, platform: str, python: str | None) -> bool:
        """Whether it belongs into a zip for `platform` and `python` (None: for any)."""
        return self.platform in (platform, ANY) and self.python in (python, ANY)


class WheelsMissing(Exception):
    """Some wheels could not be fetched; the message names them."""


def locked() -> list[Wheel]:
    """What `lock.toml` holds."""
    with LOCK.open("rb") as file:
        return [Wheel(**entry) for entry in tomllib.load(file)["wheel"]]


def pins() -> dict[str, Any]:
    """What `pins.toml` asks for."""
    with (FOLDER / "pins.toml").open("rb") as file:
        return tomllib.load(file)


def fetch(wheels: Sequence[Wheel], python: str | Path) -> None:
    """Fetch those of `wheels` that are not there with the locked hash, by the pip of `python`.

    Raises WheelsMissing.
    """
    wanted = [wheel for wheel in wheels if not _is_there(wheel)]
    settings = pins()
    with ThreadPoolExecutor(FETCHERS) as pool:
        results = pool.map(lambda wheel: _fetch(wheel, settings, python), wanted)
        failed = [f"{wheel.file}: {reason}" for wheel, reason in zip(wanted, results, strict=True) if reason]
    if failed:
        raise WheelsMissing("\n".join(failed))


def lock(python: str | Path) -> None:
    """Fetch what the pins name, by the pip of `python`, and write `lock.toml`.

    What cannot be fetched keeps its earlier entry. Raises WheelsMissing where it has none.
    """
    settings = pins()
    earlier = {_key(wheel): wheel for wheel in locked()} if LOCK.is_file() else {}
    found = {}
    for wheel in _targets(settings):
        file = _download(wheel, settings, python)
        if file is not None:
            made = _measured(wheel, file)
        elif _key(wheel) in earlier:
            made = earlier[_key(wheel)]
            print(f"kept as it was: {made.file}")
        else:
            raise WheelsMissing(f"{wheel.name} {wheel.version} for {wheel.platform}, Python {wheel.python}")
        found[made.file] = made
    LOCK.write_text(_toml(sorted(found.values(), key=lambda wheel: wheel.file.lower())), encoding="utf-8")


def lock_requirements() -> None:
    """Write `backend/requirements.lock`, which Set Up installs, from `requirements.txt`.

    All but torch with hashes: torch comes from an index for the graphics card, with its own files and with
    packages of NVIDIA's, so it is locked by version only. What torch needs on every system is locked.
    """
    pinned = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    torch = [line for line in pinned if line.startswith("torch==")]
    others = [line for line in pinned if line not in torch]
    run = subprocess.run(
        [
            *("uv", "pip", "compile", "--no-config", "--quiet", "--universal", "--generate-hashes"),
            *("--no-annotate", "--no-header", "--python-version=3.11", "-"),
        ],
        input="\n".join([*others, *TORCH_NEEDS]),
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("UV_")},
    )
    REQUIREMENTS_LOCK.write_text(HEADER_LOCK + "\n".join([*torch, run.stdout]), encoding="utf-8")


def longest_path(wheel: Path) -> int:
    """Characters of the longest path of a file in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return max(map(len, archive.namelist()))


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _targets(settings: dict[str, Any]) -> Iterator[Wheel]:
    """Every pin for every platform and Python, without file and hash; versions may differ by either."""
    for zips in ("full", "both"):
        for name, version in settings[zips].items():
            for platform in settings["platforms"]:
                for python in settings["pythons"]:
                    chosen = version if isinstance(version, str) else version.get(platform) or version[python]
                    yield Wheel(name, chosen, platform, python, zips, "", "")


def _measured(target: Wheel, file: Path) -> Wheel:
    """The locked form; a wheel for any Python or platform is locked once."""
    python, _abi, platform = file.stem.split("-")[-3:]
    any_python = python.startswith("py") or "abi3" in file.name
    return Wheel(
        name=target.name,
        version=target.version,
        platform=ANY if platform == "any" else target.platform,
        python=ANY if any_python else target.python,
        zips=target.zips,
        file=file.name,
        sha256=sha256(file),
        size=file.stat().st_size,
        longest_path=longest_path(file),
    )


def _download(wheel: Wheel, settings: dict[str, Any], python: str | Path) -> Path | None:
    """Fetch the best wheel of a pin, whatever its hash; None where there is none."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        run = _pip(f"{wheel.name}=={wheel.version}", wheel, settings, Path(folder), python)
        fetched = list(Path(folder).glob("*.whl"))
        if run.returncode != 0 or len(fetched) != 1:
            return None
        return fetched[0].replace(FOLDER / fetched[0].name)


def _fetch(wheel: Wheel, settings: dict[str, Any], python: str | Path) -> str:
    """Fetch one locked wheel; why that failed, or ""."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        requirement = f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n"
        run = _pip(requirement, wheel, settings, Path(folder), python)
        fetched = Path(folder, wheel.file)
        if run.returncode != 0 or not fetched.is_file():
            return (run.stderr.strip().splitlines() or ["pip found another file"])[-1]
        fetched.replace(wheel.path)
    return ""


def _pip(
    requirement: str, wheel: Wheel, settings: dict[str, Any], folder: Path, interpreter: str | Path
) -> subprocess.CompletedProcess[str]:
    (folder / "requirements.txt").write_text(requirement, encoding="utf-8")
    platform = settings["platforms"][0] if wheel.platform == ANY else wheel.platform
    python = settings["pythons"][0] if wheel.python == ANY else wheel.python
    index = settings["index"].get(wheel.version)
    command = [
        *(str(interpreter), "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"),
        *("--disable-pip-version-check", "--retries=2", "-d", str(folder)),
        *("--implementation=cp", f"--python-version={python}"),
        *(f"--abi={abi}" for abi in (f"cp{python.replace('.', '')}", "abi3", "none")),
        *(f"--platform={tag}" for tag in settings["tags"][platform]),
        *([f"--extra-index-url={index}"] if index else []),
        *("-r", str(folder / "requirements.txt")),
    ]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ)


def _is_there(wheel: Wheel) -> bool:
    return wheel.path.is_file() and sha256(wheel.path) == wheel.sha256


def _key(wheel: Wheel) -> tuple[str, ...]:
    return wheel.name, wheel.version, wheel.platform, wheel.python


def _toml(wheels: Iterable[Wheel]) -> str:
    entries = []
    for wheel in wheels:
        fields = (f"{key} = {_value(value)}" for key, value in vars(wheel).items() if value)
        entries.append("\n".join(["[[wheel]]", *fields]))
    return HEADER + "\n" + "\n\n".join(entries) + "\n"


def _value(value: str | int) -> str:
    return str(value) if isinstance(value, int) else f'"{value}"'
