# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute devices: the only place that knows their names. Loads torch only when asked about a device."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from .errors import DeviceError

Record = Callable[[Callable[[], Any]], tuple[Callable[[], None], Any]]
"""Records a computation; returns how to replay it, and where its results are after each replay."""

CUDA = "cuda"
DEVICES = ("auto", CUDA, "mps", "cpu")

# On the CPU 16 MiB of floats: glibc gives arrays above 32 MiB back to the system when they are freed, and
# faulting them in anew took as long as the arithmetic (with 1 << 25 clicks were 1.9 times slower and
# segment-every-part 1.6 times).
_CHUNK_ELEMENTS = {CUDA: 1 << 28, "mps": 1 << 26, "cpu": 1 << 22}


_BYTES_PER_ELEMENT = 64
"""What an element of [prompts, points, channels] takes while masks are evaluated: a dozen intermediates."""

_SMALLEST_CHUNK = 1 << 18


_UNASKED = 1 << 23


def unasked_elements(device: str) -> int:
    """So many elements are computed without asking what is free: a click takes less, and a driver may need
    longer for the answer (9 ms on an H200 in a virtual machine) than the click does."""
    return min(_UNASKED, _CHUNK_ELEMENTS[device])


def chunk_elements(device: str) -> int:
    """How many elements of [prompts, points, channels] to compute at once: what there is memory for."""
    most = _CHUNK_ELEMENTS[device]
    free = _free_bytes(device)
    return most if free is None else max(_SMALLEST_CHUNK, min(most, free // _BYTES_PER_ELEMENT))


def _free_bytes(device: str) -> int | None:
    """What a computation could allocate now; None where chunks are small anyway."""
    if device != CUDA:
        return None
    import torch

    free, total = torch.cuda.mem_get_info()
    reserved = torch.cuda.memory_reserved()
    allowed = int(total * torch.cuda.get_per_process_memory_fraction()) - reserved
    return max(0, min(free, allowed)) + reserved - torch.cuda.memory_allocated()


def arithmetic_is_scarce(device: str) -> bool:
    """Whether finding out what need not be computed is quicker than computing it. On a GPU it is not: asking
    it for a result and waiting costs more than the few milliseconds that it would save."""
    return device == "cpu"


def works_by_itself(device: str) -> bool:
    """Whether the CPU is free for something else while the device computes."""
    return device != "cpu"


def peak_device_bytes(device: str) -> int | None:
    """Most memory that this process has held on a graphics card; None where that is not known."""
    import torch

    return int(torch.cuda.max_memory_allocated()) if device == CUDA else None


def finish(device: str) -> None:
    """Wait until the device has done what it was asked for."""
    import torch

    if device != "cpu":
        torch.accelerator.synchronize()


def searches_neighbors(device: str) -> bool:
    """Whether the device itself finds a shape's patches: it is faster at that, and has double precision."""
    return device == CUDA


def keeps_surfaces(device: str) -> bool:
    """Whether the device samples meshes and finds their sites: it is faster at that than the CPU, and has
    double precision."""
    return device == CUDA


def runs_kernels(device: str) -> bool:
    """Whether Triton's kernels run there, where it is installed."""
    return device == CUDA


def pick_device(name: str = "auto") -> str:
    """The device to compute on: `name`, or for "auto" the best one that works. Raises DeviceError."""
    return choose_device(name)[0]


def choose_device(name: str = "auto") -> tuple[str, str]:
    """As `pick_device`, and a sentence where a device that is there had to be passed over, else "".

    A device counts only after it has computed something: drivers report cards that this torch has no code
    for. Raises DeviceError for a device, asked for by name, that is not there or does not work.
    """
    if name not in DEVICES:
        raise DeviceError(f"unknown device {name!r}; choose from {', '.join(DEVICES)}")
    wanted = (CUDA, "mps") if name == "auto" else (name,)
    notice = ""
    for device in wanted:
        if device == "cpu":
            break
        if not _is_there(device):
            if name != "auto":
                raise DeviceError(f"this machine has no usable {device} device; choose auto or cpu")
            continue
        fault = device_fault(device)
        if not fault:
            return device, ""
        notice = f"The {device} device does not work ({fault}); computing on the CPU, which is slower"
        if name != "auto":
            raise DeviceError(f"the {device} device does not work ({fault}); choose auto or cpu")
    return "cpu", notice


def device_fault(device: str) -> str:
    """Why `device` fails at a small computation; "" if it computes."""
    import torch

    try:
        product = torch.ones(8, 8, device=device) @ torch.ones(8, 8, device=device)
        total = float(product.sum().item())
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return "" if total == 512.0 else f"a small computation gave {total} instead of 512"


def _is_there(device: str) -> bool:
    import torch

    return torch.cuda.is_available() if device == CUDA else torch.backends.mps.is_available()


def device_name(device: str) -> str:
    """What `device` calls itself."""
    import torch

    module = torch.get_device_module(device)
    if hasattr(module, "get_device_name"):
        return str(module.get_device_name())
    return platform.processor() or platform.machine()


def use_gpu(number: int) -> int:
    """Make GPU `number`, counted round, the one that this process computes on; which one that is."""
    import torch

    if not torch.cuda.is_available():
        return 0
    number %= torch.cuda.device_count()
    torch.cuda.set_device(number)
    return number


def mixed_precision(
    device: str, *, half: str = "bfloat16", wanted: bool = True, keeps_weights: bool = True
) -> AbstractContextManager[object]:
    """Autocast where it pays: `half` on CUDA, float16 on MPS, nothing on the CPU or where not `wanted`.

    half: float16 has three more bits, bfloat16 does not overflow
    keeps_weights: whether weights in the lower precision are kept until the block ends
    """
    import torch

    precisions = {CUDA: getattr(torch, half), "mps": torch.float16}
    if not wanted or device not in precisions:
        return contextlib.nullcontext()
    return torch.autocast(device, dtype=precisions[device], cache_enabled=keeps_weights)


def computes_in_half(device: str) -> bool:
    """Whether products are computed in the half precision that a network asks for."""
    return device == CUDA


GRAPHS_VARIABLE = "PARTSAM_CUDA_GRAPHS"
"""Environment variable: 1 records computations on a graphics card, 0 does not."""

_RECORDS_BY_DEFAULT = "1"

_FREE_TO_RECORD = 2 << 30
"""Bytes: a recording keeps what it computes with."""


def graph_recorder(device: str) -> Record | None:
    """How computations are recorded on `device`; None where they are not."""
    if device != CUDA or os.environ.get(GRAPHS_VARIABLE, _RECORDS_BY_DEFAULT) != "1":
        return None
    import torch

    pool = torch.cuda.graph_pool_handle()

    def record(compute: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        if (_free_bytes(device) or 0) < _FREE_TO_RECORD:
            raise RuntimeError("little of the graphics card's memory is free")
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            compute()  # libraries set themselves up, which cannot be recorded
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            results = compute()
        return graph.replay, results

    return record
