# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of a training run, read from a TOML file."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..errors import DataError
from ..network import PRESETS, NetworkConfig
from .augmentation import AugmentationConfig
from .batch import BatchConfig
from .clicks import ClickConfig
from .losses import LossConfig

T = TypeVar("T")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its schedule.

    learning_rate: peak; it rises linearly over `warmup_steps` and falls by `schedule` ("cosine" to
        `final_ratio` of the peak, or "step": divided by ten at 60 % and 85 %)
    ema_decay: of the weights that are kept; approached as the run gets longer
    """

    learning_rate: float = 8e-4
    final_ratio: float = 0.01
    warmup_steps: int = 200
    schedule: str = "cosine"
    weight_decay: float = 0.01
    beta2: float = 0.99
    clip_norm: float = 1.0
    ema_decay: float = 0.9995

    def __post_init__(self) -> None:
        if self.schedule not in ("cosine", "step"):
            raise DataError(f"schedule must be 'cosine' or 'step', not {self.schedule!r}")


@dataclass(frozen=True)
class RunConfig:
    """Length and bookkeeping of a run.

    steps, seconds: the whole schedule ends at whichever comes first (0: no limit), over all chained runs
    stop_after: seconds after which this process saves and stops, schedule finished or not (0: never)
    log_every, save_every: steps; graphs: capture whole steps as CUDA graphs
    """

    steps: int = 0
    seconds: float = 0.0
    stop_after: float = 0.0
    log_every: int = 50
    save_every: int = 2000
    seed: int = 0
    graphs: bool = True
    compile: bool = False

    def __post_init__(self) -> None:
        if self.steps <= 0 and self.seconds <= 0:
            raise DataError("a run needs an end: set run.steps or run.seconds")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that determines a run.

    shards: training shards or packed sets, relative to the working folder
    network: preset name; network_sizes: fields of the preset that are replaced
    rounds: numbers of interaction rounds; round_weights: how often each is drawn
    start: weights to start from (a safetensors file), or ""
    """

    shards: tuple[str, ...] = ()
    network: str = "small"
    network_sizes: dict[str, Any] = field(default_factory=dict)
    start: str = ""
    rounds: tuple[int, ...] = (1, 2, 4, 7)
    round_weights: tuple[float, ...] = (0.2, 0.3, 0.3, 0.2)
    batch: BatchConfig = field(default_factory=BatchConfig)
    clicks: ClickConfig = field(default_factory=ClickConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    run: RunConfig = field(default_factory=lambda: RunConfig(steps=1))

    def __post_init__(self) -> None:
        if self.network not in PRESETS:
            raise DataError(f"unknown network {self.network!r}; choose from {', '.join(PRESETS)}")
        if len(self.rounds) != len(self.round_weights) or min(self.rounds, default=0) < 1:
            raise DataError("rounds and round_weights must be equally long, rounds at least 1")

    def network_config(self) -> NetworkConfig:
        """The network's sizes. `points` is what the batches have, so that training and use agree."""
        sizes = {key: tuple(v) if isinstance(v, list) else v for key, v in self.network_sizes.items()}
        try:
            preset = dataclasses.replace(PRESETS[self.network], **sizes)
            return dataclasses.replace(preset, points=self.batch.points)
        except (TypeError, ValueError) as error:
            raise DataError(f"network_sizes: {error}") from error


def read_config(path: Path | str, overrides: dict[str, Any] | None = None) -> TrainingConfig:
    """Read a TOML file; `overrides` maps dotted names ("run.seconds") to values. Raises DataError."""
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path} is not valid TOML: {error}") from error
    for name, value in (overrides or {}).items():
        *tables, last = name.split(".")
        table = values
        for part in tables:
            table = table.setdefault(part, {})
        table[last] = value
    return _build(TrainingConfig, values, "")


_SECTIONS: dict[str, type] = {
    "batch": BatchConfig,
    "clicks": ClickConfig,
    "losses": LossConfig,
    "optimizer": OptimizerConfig,
    "run": RunConfig,
    "batch.augmentation": AugmentationConfig,
}


def _build(cls: type[T], values: dict[str, Any], prefix: str) -> T:
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise DataError(f"unknown setting {prefix}{unknown[0]}; known here: {', '.join(sorted(known))}")
    fields: dict[str, Any] = {}
    for key, value in values.items():
        section = _SECTIONS.get(prefix + key)
        if section is not None:
            fields[key] = _build(section, value, f"{prefix}{key}.")
        elif isinstance(value, list):
            fields[key] = tuple(tuple(v) if isinstance(v, list) else v for v in value)
        else:
            fields[key] = value
    return cls(**fields)
