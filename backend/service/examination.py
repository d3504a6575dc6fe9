# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks whether the backend works in this Python, and on what. Starts with the standard library only."""

from __future__ import annotations

import contextlib
import importlib
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from ..errors import PartSAMError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..geometry import Mesh

MODULES = ("numpy", "scipy", "torch", "safetensors", "maxflow")
SMALLEST_AGREEMENT = 0.9
"""Intersection over union of a part on the device and on the CPU: half precision moves its border."""


@dataclass
class Examination:
    """What `examine` found.

    problems: sentences, the one to mend first at the front; empty if the backend works
    notices: sentences about what works less well than it could
    versions: of the modules; memory_free, memory_total: bytes of `device`, None where unknown
    seconds: by stage; agreement: IoU of one part on the device and on the CPU, None where not compared
    """

    python: str = field(default_factory=platform.python_version)
    executable: str = sys.executable
    system: str = field(default_factory=platform.platform)
    versions: dict[str, str] = field(default_factory=dict)
    device: str = ""
    device_name: str = ""
    memory_free: int | None = None
    memory_total: int | None = None
    model: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    agreement: float | None = None
    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def lines(self) -> list[str]:
        """One fact a line; what is wrong comes last."""
        facts = [f"Python {self.python} ({self.executable})", f"System: {self.system}"]
        facts += [f"{name} {version}".strip() for name, version in self.versions.items()]
        if self.device:
            facts.append(f"Device: {self.device} ({self.device_name})")
        if self.memory_free is not None and self.memory_total is not None:
            free, total = self.memory_free / 2**30, self.memory_total / 2**30
            facts.append(f"Memory of the device: {free:.1f} of {total:.1f} GB free")
        if self.model:
            facts.append(f"Model: {self.model}")
        if self.seconds:
            facts.append(", ".join(f"{stage} {spent:.2f} s" for stage, spent in self.seconds.items()))
        if self.agreement is not None:
            facts.append(f"Same part on the CPU: {self.agreement:.1%} of the area")
        facts += [f"Notice: {notice}" for notice in self.notices]
        return facts + ([f"Problem: {problem}" for problem in self.problems] or ["Everything works"])


def examine(
    *, modules: Sequence[str] = MODULES, model: str | None = "small", device: str = "auto"
) -> Examination:
    """Import `modules`, try the device, and find one part with `model` (None: none) on it and on the CPU.

    Raises nothing: what fails becomes a problem, and what needs it is left out.
    """
    found = Examination()
    with _timed(found, "import"):
        found.versions = dict(_versions(modules, found.problems))
    if "torch" not in found.versions:
        return found
    try:
        _look_at_device(found, device)
        if model is not None and not found.problems:
            _run_model(found, model)
    except PartSAMError as error:
        found.problems.append(str(error))
    except Exception as error:  # a library broken in any way is what is looked for
        found.problems.append(f"the model cannot be run ({type(error).__name__}: {_first_line(error)})")
    return found


def _versions(modules: Sequence[str], problems: list[str]) -> Iterator[tuple[str, str]]:
    for name in modules:
        try:
            module = importlib.import_module(name)
        except Exception as error:  # a library broken in any way is what is looked for
            problems.append(f"{name} cannot be imported ({type(error).__name__}: {_first_line(error)})")
        else:
            yield name, str(getattr(module, "__version__", ""))


def _look_at_device(found: Examination, device: str) -> None:
    from ..devices import choose_device, device_name
    from .memory import device_memory

    found.device, notice = choose_device(device)
    found.notices += [notice] if notice else []
    found.device_name = device_name(found.device)
    found.memory_free, found.memory_total = device_memory(found.device)


def _run_model(found: Examination, model: str) -> None:
    mesh = example_mesh()
    here = _part(found, model, found.device, mesh)
    found.model = model
    if found.device == "cpu" or found.problems:
        return
    there = _part(None, model, "cpu", mesh)
    union = int((here | there).sum())
    found.agreement = float((here & there).sum() / union) if union else 1.0
    if found.agreement < SMALLEST_AGREEMENT:
        found.problems.append(
            f"{found.device} and the CPU find different parts ({found.agreement:.0%} in common); "
            "update the graphics driver, or choose the CPU in the preferences"
        )


def _part(found: Examination | None, model: str, device: str, mesh: Mesh) -> NDArray[np.bool_]:
    """The part at the first vertex, bool [F]."""
    import numpy as np

    from ..segmenter import Segmenter

    with _timed(found, "load"):
        segmenter = Segmenter.load(model, device=device)
    with _timed(found, "encode"):
        shape = segmenter.encode(mesh)
    with _timed(found, "click"):
        prediction = segmenter.predict(shape, mesh.vertices[:1], np.ones(1, dtype=np.int64))
    logits = np.asarray(prediction.face_logits)
    if found is not None and not np.isfinite(logits).all():
        found.problems.append(f"the model gives numbers that are not finite on {device}")
    return logits[prediction.best] > 0


def example_mesh() -> Mesh:
    """Three boxes on top of each other, each side two rows of small triangles: 576 faces."""
    import numpy as np

    from ..geometry import Mesh

    steps = np.linspace(-1.0, 1.0, 5)
    u, v = (grid.ravel() for grid in np.meshgrid(steps, steps, indexing="ij"))
    corner = np.add.outer(np.arange(4) * 5, np.arange(4)).ravel()
    quads = np.stack([corner, corner + 5, corner + 6, corner + 1], axis=1)
    sides = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            points = np.insert(np.stack([u, v * (sign if axis != 1 else -sign)], axis=1), axis, sign, axis=1)
            sides.append(points)
    box = np.concatenate(sides)
    faces = np.concatenate([quads + 25 * side for side in range(6)])
    triangles = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
    scales = ((0.3, 0.3, 0.3), (0.8, 0.8, 0.2), (0.2, 0.2, 0.9))
    heights = (1.9, 1.4, 0.3)
    placed = [box * scale + (0.0, 0.0, height) for scale, height in zip(scales, heights, strict=True)]
    indices = [triangles + len(box) * number for number in range(len(placed))]
    return Mesh(np.concatenate(placed), np.concatenate(indices))


@contextlib.contextmanager
def _timed(found: Examination | None, stage: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    if found is not None:
        found.seconds[stage] = round(time.monotonic() - start, 3)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]
