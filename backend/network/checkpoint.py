# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights on disk: safetensors only, checked against the network before anything is allocated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..errors import CheckpointError
from ..whole_files import appearing_whole
from .config import PUBLISHED, NetworkConfig
from .model import PartSAM
from .published_layout import is_published_layout, our_name

_CONFIG_KEY = "partsam.config"
_SHOWN_MISMATCHES = 5


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with weights, and the file's tensors that the network has no use for."""

    network: PartSAM
    unused: tuple[str, ...]
    metadata: dict[str, str]


@dataclass(frozen=True)
class StoredWeights:
    """A file of ours as it is, without a network that is made of it.

    tensors: by name, of the types that the file has them in
    metadata: all but the configuration
    """

    tensors: dict[str, Tensor]
    config: NetworkConfig
    metadata: dict[str, str]


def load_network(path: Path | str, *, device: torch.device | str = "cpu") -> LoadedNetwork:
    """Read our own file or the published checkpoint from `path`; float32 on `device`.

    Raises CheckpointError, naming the first mismatches, for missing, truncated, foreign or wrong files.
    """
    path = Path(path)
    with _opened(path) as file:
        metadata = dict(file.metadata() or {})
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        sources, unused, config = _plan(path, shapes, metadata)
        network = _empty_network(path, config)
        _check_shapes(path, network, sources, shapes)
        wanted = network.state_dict()
        tensors = {name: _assemble(file, sources[name], wanted[name].shape) for name in wanted}
    network.load_state_dict(tensors, assign=True)
    return LoadedNetwork(network.to(device).eval().requires_grad_(False), unused, metadata)


def save_network(
    network: PartSAM,
    path: Path | str,
    *,
    metadata: dict[str, str] | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write weights with their configuration; the file appears whole or not at all."""
    tensors = {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else None).contiguous()
        for name, tensor in network.state_dict().items()
    }
    write_weights(StoredWeights(tensors, network.config, metadata or {}), path)


def read_weights(path: Path | str) -> StoredWeights:
    """Read a file of ours, on the CPU. Raises CheckpointError for other, missing and truncated files; whether
    the tensors fit the configuration is not looked at."""
    path = Path(path)
    with _opened(path) as file:
        metadata = dict(file.metadata() or {})
        if _CONFIG_KEY not in metadata:
            raise CheckpointError(f"{path} holds no network configuration in its metadata")
        config = NetworkConfig.from_json(metadata.pop(_CONFIG_KEY))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return StoredWeights(tensors, config, metadata)


def write_weights(weights: StoredWeights, path: Path | str) -> None:
    """The inverse of `read_weights`; the file appears whole or not at all.

    Raises CheckpointError where it cannot be written.
    """
    path = Path(path)
    metadata = {**weights.metadata, _CONFIG_KEY: weights.config.to_json()}
    try:
        with appearing_whole(path) as partial:
            save_file(weights.tensors, partial, metadata=metadata)
    # The library reports a full disk as an error of its own.
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"cannot write {path}: {error}") from error


def untrained_network(config: NetworkConfig, *, seed: int = 0) -> PartSAM:
    """A network with seeded random weights, for plumbing tests and as a baseline."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PartSAM(config).eval().requires_grad_(False)


@contextmanager
def _opened(path: Path) -> Iterator[safetensors.safe_open]:
    """A file of weights to read from. Raises CheckpointError where it is missing, truncated or foreign."""
    if not path.is_file():
        raise CheckpointError(f"no such weights file: {path}")
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{path.name} is not a readable safetensors file ({error}); "
            "it may be truncated: download it again"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _plan(
    path: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str]
) -> tuple[dict[str, list[str]], tuple[str, ...], NetworkConfig]:
    """Which of the file's tensors make up each of ours: name -> [tensor, or tensors that are its rows]."""
    if _CONFIG_KEY in metadata:
        return {name: [name] for name in shapes}, (), NetworkConfig.from_json(metadata[_CONFIG_KEY])
    if not is_published_layout(set(shapes)):
        raise CheckpointError(
            f"{path.name} holds neither a PartSAM network of ours (no configuration in its metadata) nor the "
            f"published checkpoint (first tensor: {min(shapes, default='none')})"
        )
    sources: dict[str, list[str]] = {}
    unused = []
    for published in sorted(shapes):
        name = our_name(published)
        if name is None:
            unused.append(published)
        else:
            sources.setdefault(re.sub(r"\[\d+\]$", "", name), []).append(published)
    return sources, tuple(unused), PUBLISHED


class _NothingDrawn(TorchFunctionMode):
    """Makes parameters without first values. On the meta device drawing them imports sympy: 2 seconds."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return torch.empty(*args, **kwargs) if func is torch.randn else func(*args, **kwargs)


def _empty_network(path: Path, config: NetworkConfig) -> PartSAM:
    try:
        with torch.device("meta"), _NothingDrawn():
            return PartSAM(config)
    except (RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name} describes a network that cannot be built: {error}") from error


def _check_shapes(
    path: Path, network: PartSAM, sources: dict[str, list[str]], shapes: dict[str, tuple[int, ...]]
) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    problems = [f"{name} is missing" for name in wanted if name not in sources]
    problems += [f"{sources[name][0]} is not part of the network" for name in sources if name not in wanted]
    for name in wanted.keys() & sources.keys():
        problems += _misfits(sources[name], shapes, wanted[name])
    if problems:
        shown = "; ".join(sorted(problems)[:_SHOWN_MISMATCHES])
        more = len(problems) - _SHOWN_MISMATCHES
        raise CheckpointError(
            f"{path.name} does not fit the {network.config.name!r} network: {shown}"
            + (f"; and {more} more" if more > 0 else "")
        )


def _misfits(rows: list[str], shapes: dict[str, tuple[int, ...]], wanted: tuple[int, ...]) -> list[str]:
    """What is wrong with the file's tensors that make up one of ours: itself, or its rows."""
    if len(rows) > 1 and len(rows) != wanted[0]:
        return [f"{rows[0]} is one of {len(rows)} rows, not of {wanted[0]}"]
    expected = wanted[1:] if len(rows) > 1 else wanted
    return [
        f"{row} is {list(shapes[row])}, not {list(expected)}"
        for row in rows
        if _without_ones(shapes[row]) != _without_ones(expected)
    ]


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    """Published 1 x 1 convolutions and embeddings carry axes of length 1 that our layers do not."""
    return [length for length in shape if length != 1]


def _assemble(file: safetensors.safe_open, source: list[str], shape: torch.Size) -> Tensor:
    tensors = [file.get_tensor(name).float() for name in source]
    return torch.cat(tensors).reshape(shape)
