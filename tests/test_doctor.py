# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend's look at itself, the choice of a device, and models that the user brings."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_addon import ROOT, load

from backend import devices
from backend.errors import DeviceError
from backend.service import examination
from backend.service.protocol import Message, content_hash
from backend.service.request_handlers import RequestHandlers
from backend.service.server import Call

environment = load("environment")
errors = sys.modules[load("environment.faults").PartSAMError.__module__]
PYTHON = environment.BackendPython(Path(sys.executable))
SMALL = ROOT / "backend" / "models" / "small.safetensors"


def test_the_doctor_runs_the_model_and_says_that_all_is_well() -> None:
    command = [sys.executable, "-m", "backend", "doctor", "--device", "cpu"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[-1] == "Everything works"
    assert f"torch {torch.__version__}" in lines and "Model: small" in lines
    assert any(line.startswith("import ") and "click" in line for line in lines)


def test_the_doctor_needs_nothing_to_say_what_is_missing(tmp_path: Path) -> None:
    """A Python without any package, as a user may choose it."""
    launcher = ROOT / "backend" / "service" / "launcher.py"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = load("environment.folder").interpreter_of(tmp_path / "bare")
    run = subprocess.run([python, "-I", launcher, "doctor", "--json"], capture_output=True, text=True)
    assert run.returncode == 1
    problems = json.loads(run.stdout)["problems"]
    assert [problem.split()[0] for problem in problems] == list(examination.MODULES)
    report = environment.check_environment(environment.BackendPython(python))
    assert not report.is_usable and list(report.problems) == problems


def test_a_model_that_cannot_be_used_is_the_problem(tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(SMALL.read_bytes()[:100_000])
    found = examination.examine(model=str(tmp_path / "cut.safetensors"), device="cpu")
    assert found.device == "cpu" and "truncated" in found.problems[0]
    assert found.lines()[-1].startswith("Problem: ")
    assert examination.examine(model=None, device="gpu").problems[0].startswith("unknown device 'gpu'")


class NoKernel:
    """Stands for a card that the driver reports and for which this torch has no code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        ones = torch.ones

        def failing(*size: int, **options: object) -> torch.Tensor:
            if options.get("device") == device:
                raise RuntimeError("CUDA error: no kernel image is available\nmore")
            return ones(*size, **options)

        monkeypatch.setattr(torch, "ones", failing)


def test_a_device_counts_only_after_it_has_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    NoKernel(monkeypatch, devices.CUDA)
    device, notice = devices.choose_device()
    assert device == "cpu" and "no kernel image is available" in notice and "CPU" in notice
    with pytest.raises(DeviceError, match="does not work"):
        devices.choose_device(devices.CUDA)


def test_the_user_is_told_once_that_a_device_was_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    NoKernel(monkeypatch, devices.CUDA)
    handlers = RequestHandlers()
    assert handlers.handle(call("hello", {}, {})).fields["device"] == "cpu"
    mesh = examination.example_mesh()
    arrays = {"vertices": mesh.vertices, "triangles": mesh.triangles.astype(np.int32)}
    asked = {"content": content_hash(arrays), "model": "small-untrained", "device": "auto", "seed": 0}
    told = []
    for _ in range(2):
        request = call("encode", asked, arrays)
        assert handlers.handle(request).fields["device"] == "cpu"
        told.append(request.notices)
    assert [len(notices) for notices in told] == [1, 0] and "no kernel image" in told[0][0]


def call(kind: str, fields: dict[str, object], arrays: dict[str, np.ndarray]) -> Call:
    return Call(Message(kind, 1, fields, arrays), lambda stage, fraction: None, lambda: False)


def test_a_model_is_tried_before_it_is_kept(tmp_path: Path) -> None:
    """What is kept is tested in Blender."""
    target = tmp_path / "models" / "mine.safetensors"
    for name, content, reason in (
        ("other.safetensors", b"\x02\0\0\0\0\0\0\0{}", "neither a PartSAM network"),
        ("mine.ckpt", b"pickle", "not a .safetensors file"),
    ):
        source = tmp_path / name
        source.write_bytes(content)
        with pytest.raises(errors.CheckpointError, match=reason):
            environment.import_model(PYTHON, source, target, environment.Progress())
        assert not target.parent.exists()


ONLY_THESE = """
    import sys

    class OnlyThese:
        def find_spec(self, name, path=None, target=None):
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in ALLOWED and not top.startswith("_"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    ALLOWED = {"backend", "numpy", "torch", "torchgen", "functorch", "scipy", "safetensors", "maxflow"}
    ALLOWED |= {"typing_extensions", "cython_runtime"}
    sys.meta_path.insert(0, OnlyThese())
    import numpy as np
    from backend.commands import serve
    from backend.service.examination import example_mesh
    from backend import Segmenter
    segmenter = Segmenter.load("small", device="cpu")
    mesh = example_mesh()
    shape = segmenter.encode(mesh)
    segmenter.predict(shape, mesh.vertices[:1], np.ones(1, dtype=np.int64))
    labels = segmenter.segment_every_part(shape, prompts=4).refined_labels(0.5)
    print(len(labels))
"""


def test_the_backend_works_with_only_what_the_full_zip_brings() -> None:
    """numpy is Blender's own; all else is a wheel of the zip. Whatever else is installed here is hidden."""
    code = textwrap.dedent(ONLY_THESE)
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["576"]
