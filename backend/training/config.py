# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of a training run, read from a TOML file."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..click_simulation import ClickConfig
from ..errors import DataError
from ..network import PRESETS, NetworkConfig
from .augmentation import AugmentationConfig
from .batch import BatchConfig
from .interaction import Interaction
from .losses import LossConfig

T = TypeVar("T")


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer and schedule.

    matrices: what steps those of hidden layers, "adamw" or "muon"; everything else is AdamW's
    learning_rate: peak; it rises linearly over `warmup_steps` and falls by `schedule` ("cosine" to
        `final_ratio` of the peak, or "step": divided by ten at 60 % and 85 %)
    ema_decay: of the weights that are kept; approached as the run gets longer
    """

    matrices: str = "adamw"
    learning_rate: float = 8e-4
    final_ratio: float = 0.01
    warmup_steps: int = 200
    schedule: str = "cosine"
    weight_decay: float = 0.01
    beta2: float = 0.99
    clip_norm: float = 1.0
    ema_decay: float = 0.9995

    def __post_init__(self) -> None:
        if self.matrices not in ("adamw", "muon"):
            raise DataError(f"matrices must be 'adamw' or 'muon', not {self.matrices!r}")
        if self.schedule not in ("cosine", "step"):
            raise DataError(f"schedule must be 'cosine' or 'step', not {self.schedule!r}")
        if min(self.learning_rate, self.clip_norm) <= 0:
            raise DataError("learning_rate and clip_norm must be positive")
        if not 0 <= self.ema_decay < 1:
            raise DataError(f"ema_decay must be at least 0 and less than 1, not {self.ema_decay}")


@dataclass(frozen=True)
class RunConfig:
    """Length and bookkeeping of a run.

    steps, seconds: the whole schedule ends at whichever comes first (0: no limit), over all chained runs
    stop_after: seconds after which this process saves and stops, schedule finished or not (0: never)
    log_every, save_every: steps; graphs: capture whole steps as CUDA graphs
    held_shards: shards that each process holds at a time, others than those of the other processes; 0: all
    exchange_every: steps after which it goes on to its next ones
    """

    steps: int = 0
    seconds: float = 0.0
    stop_after: float = 0.0
    log_every: int = 50
    save_every: int = 2000
    held_shards: int = 0
    exchange_every: int = 2000
    seed: int = 0
    graphs: bool = True
    compile: bool = False

    def __post_init__(self) -> None:
        if self.steps <= 0 and self.seconds <= 0:
            raise DataError("a run needs an end: set run.steps or run.seconds")
        if min(self.log_every, self.save_every) < 1:
            raise DataError("log_every and save_every count steps: at least 1")
        if self.held_shards < 0 or self.exchange_every < 1:
            raise DataError("held_shards must not be negative, and exchange_every counts steps: at least 1")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that determines a run.

    shards: training shards or packed sets, relative to the working folder
    network: preset name; network_sizes: fields of the preset that are replaced
    rounds: numbers of interaction rounds; round_weights: how often each is drawn
    joint_clicks: clicks on each part when all parts are asked for together, two rounds each; joint_weights:
        how often each is drawn, beside `round_weights`
    start: weights to start from (a safetensors file), or ""
    """

    shards: tuple[str, ...] = ()
    network: str = "small"
    network_sizes: dict[str, Any] = field(default_factory=dict)
    start: str = ""
    rounds: tuple[int, ...] = (1, 2, 4, 7)
    round_weights: tuple[float, ...] = (0.2, 0.3, 0.3, 0.2)
    joint_clicks: tuple[int, ...] = ()
    joint_weights: tuple[float, ...] = ()
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
        if len(self.joint_clicks) != len(self.joint_weights) or min(self.joint_clicks, default=1) < 1:
            raise DataError("joint_clicks and joint_weights must be equally long, joint_clicks at least 1")
        weights = [*self.round_weights, *self.joint_weights]
        if min(weights) < 0 or sum(weights) <= 0:
            raise DataError("round_weights and joint_weights must not be negative, nor all zero")

    def interactions(self) -> tuple[list[Interaction], list[float]]:
        """What a step may simulate, and how often each is drawn."""
        alone = [Interaction(rounds) for rounds in self.rounds]
        together = [Interaction(2, joint_clicks=clicks) for clicks in self.joint_clicks]
        return alone + together, [*self.round_weights, *self.joint_weights]

    def network_config(self) -> NetworkConfig:
        """The network's sizes. `points` is what the batches have, so that training and use agree."""
        sizes: dict[str, Any] = {key: _as_tuples(value) for key, value in self.network_sizes.items()}
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
    except ValueError as error:  # not TOML, or not even text
        raise DataError(f"{path} is not valid TOML: {error}") from error
    for name, value in (overrides or {}).items():
        *tables, last = name.split(".")
        table = values
        for part in tables:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise DataError(f"there is no setting {name}: {part} is a value, not a table")
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


def override(text: str) -> tuple[str, Any]:
    """Name and value of a setting given as NAME=VALUE, for `read_config`."""
    name, equals, value = text.partition("=")
    if not equals:
        raise DataError(f"--set takes NAME=VALUE, not {text!r}")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value


def _build(cls: type[T], values: Any, prefix: str) -> T:
    if not isinstance(values, dict):
        raise DataError(f"{prefix.rstrip('.')} is a table of settings, not {values!r}")
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise DataError(f"unknown setting {prefix}{unknown[0]}; known here: {', '.join(sorted(known))}")
    hints = typing.get_type_hints(cls)
    fields: dict[str, Any] = {}
    for key, value in values.items():
        section = _SECTIONS.get(prefix + key)
        if section is not None:
            fields[key] = _build(section, value, f"{prefix}{key}.")
            continue
        fields[key] = _as_tuples(value)
        if not _fits(fields[key], hints[key]):
            raise DataError(f"{prefix}{key} cannot be {value!r}")
    return cls(**fields)


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from TOML is of an annotated type; a whole number serves as a float."""
    inner = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if typing.get_origin(hint) is not tuple:
        wanted = typing.get_origin(hint) or hint
        return type(value) is wanted or (wanted is float and type(value) is int)
    if not isinstance(value, tuple):
        return False
    each = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
    return len(each) == len(value) and all(map(_fits, value, each))
