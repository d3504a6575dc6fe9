# SPDX-License-Identifier: GPL-3.0-or-later
"""A training run: schedule, progress, metrics, checkpoints, chaining."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import pickle
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from ..devices import CUDA, pick_device
from ..errors import DataError
from ..network import NetworkConfig, PartSAM, load_network, save_network
from ..whole_files import appearing_whole
from .batch import BatchSampler
from .config import OptimizerConfig, RunConfig, TrainingConfig
from .ranks import Clock, random_states, rank, set_random_state, world_size
from .region_files import load_store
from .shard_stream import ShardStream
from .step import AveragedWeights, TrainStep
from .stop_signal import StopSignal, start_compile_workers

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.safetensors"
_AVERAGE_EVERY = 10
_CLOCK_EVERY = 20
"""Steps between two looks at the clock, which all ranks take together and for which the host waits."""
_DAMAGE = (KeyError, RuntimeError, TypeError, ValueError, EOFError, OSError, pickle.PickleError)
"""What loading a truncated, foreign or unfitting checkpoint raises."""


@dataclass
class Progress:
    """Where a run is: optimiser steps and training seconds over all chained processes."""

    step: int = 0
    seconds: float = 0.0

    def share(self, run: RunConfig) -> float:
        """Share of the schedule that is done, 0 .. 1."""
        by_step = self.step / run.steps if run.steps else 0.0
        by_time = self.seconds / run.seconds if run.seconds else 0.0
        return min(1.0, max(by_step, by_time))


def learning_rate(config: OptimizerConfig, step: int, share: float) -> float:
    """The rate of a step when `share` of the schedule is done."""
    warmup = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    if config.schedule == "step":
        factor = 0.1 ** ((share >= 0.6) + (share >= 0.85))
    else:
        factor = config.final_ratio + (1 - config.final_ratio) * 0.5 * (1 + math.cos(math.pi * share))
    return config.learning_rate * warmup * factor


class Trainer:
    """Builds everything a run needs and runs it; `run` may be called once."""

    def __init__(self, config: TrainingConfig, folder: Path | str, *, device: str = "auto") -> None:
        self.config = config
        self.folder = _made(Path(folder))
        self.device = _own_device(pick_device(device))
        # Weights and numbers of rounds are the same on all ranks, which exchange gradients; data are not.
        torch.manual_seed(config.run.seed)
        self._random = random.Random(config.run.seed)
        self.network = _starting_network(config).to(self.device)
        torch.manual_seed(config.run.seed + rank())
        _tune(self.network, self.device, compile=config.run.compile)
        if not config.shards:
            raise DataError("no training data: list shards in the configuration")
        self._stream = self._own_shards()
        self._turn = 0
        self.step = TrainStep(self.network, self._sampler(), config)
        self.average = AveragedWeights(self.network, config.optimizer.ema_decay)
        self.progress = Progress()

    def _own_shards(self) -> ShardStream | None:
        """The shards of this process; None where all processes hold all of them."""
        run, shards = self.config.run, self.config.shards
        if not 0 < run.held_shards < len(shards):
            return None
        return ShardStream(
            shards,
            held=run.held_shards,
            device=self.device,
            with_regions=self._with_regions,
            seed=run.seed,
            rank=rank(),
            world_size=world_size(),
        )

    @property
    def _with_regions(self) -> bool:
        return self.network.config.region_prompt > 0

    def _sampler(self) -> BatchSampler:
        """Batches from the shapes of this turn."""
        if self._stream is None:
            shards = self.config.shards
            store = load_store(shards, with_regions=self._with_regions, device=self.device)
        else:
            store = self._stream.store(self._turn)
        log.info("%d shapes, %.1f GB on %s", len(store), store.nbytes / 1e9, self.device)
        return BatchSampler(
            store,
            self.config.batch,
            is_partial=self._stream is not None,
            crop_regions=self.network.config.region_close_ups,
        )

    def _exchange(self) -> None:
        """Go on to the shards whose turn it is."""
        turn = self.progress.step // self.config.run.exchange_every
        if self._stream is not None and turn != self._turn:
            self._turn = turn
            self.step.take_data(self._sampler())

    def run(self, *, report: Callable[[str], None] = lambda line: None) -> Progress:
        """Train until the schedule ends, the time is up or a signal comes; saves in every case."""
        self._resume()
        run, clock = self.config.run, Clock(self.progress.seconds, self.device)
        metrics = _MetricsLog(self.folder) if rank() == 0 else None
        try:
            meter = _Meter(self.progress.step)
            with StopSignal() as stop:
                while not self._finished(clock, stop.came):
                    self._exchange()
                    self._one_step()
                    stop.step_done()
                    if self.progress.step % run.log_every == 0:
                        values = self._measure(meter)
                        # The device may lag behind the host: only now is the time certain.
                        self.progress.seconds, _ = clock.read()
                        if metrics is not None:
                            metrics.write(self.progress, values)
                            report(_progress_line(self.progress, run, values))
                    if self.progress.step % run.save_every == 0:
                        self.save()
        finally:
            if metrics is not None:
                metrics.close()
            self.step.release()
            if self._stream is not None:
                self._stream.close()
        self.save()
        return self.progress

    def save(self) -> None:
        """Write the checkpoint to resume from, and the averaged weights to use; on all ranks together."""
        states = random_states(self.device)
        if rank() != 0:
            return
        state = {
            "network": self.network.state_dict(),
            "average": self.average.weights,
            "optimizer": self.step.optimizer_state(),
            "progress": asdict(self.progress),
            "random": states,
            "rounds": list(self._random.getstate()[1]),
        }
        _save_whole(state, self.folder / CHECKPOINT)
        metadata = {"partsam.training": json.dumps({"progress": asdict(self.progress)})}
        with self.average.swapped_in():
            save_network(self.network, self.folder / WEIGHTS, metadata=metadata)

    def _finished(self, clock: Clock, signalled: bool) -> bool:
        run, stop = self.config.run, False
        if self.progress.step % _CLOCK_EVERY == 0:
            self.progress.seconds, stop = clock.read(signalled=signalled, stop_after=run.stop_after)
        return stop or self.progress.share(run) >= 1

    def _one_step(self) -> None:
        progress, config = self.progress, self.config
        rate = learning_rate(config.optimizer, progress.step, progress.share(config.run))
        kinds, weights = config.interactions()
        self.step(self._random.choices(kinds, weights=weights)[0], rate)
        progress.step += 1
        if progress.step % _AVERAGE_EVERY == 0:
            self.average.update(progress.step, every=_AVERAGE_EVERY)

    def _measure(self, meter: _Meter) -> dict[str, float]:
        values = self.step.read_metrics()
        if not math.isfinite(values["loss"]):
            raise DataError(f"training diverged at step {self.progress.step}: the loss is not finite")
        rate = meter.steps_per_second(self.progress.step)
        values["steps_per_second"] = rate
        values["shapes_per_second"] = rate * self.config.batch.shapes * world_size()
        # As the optimiser has it, so that a log shows what was used and not what was meant.
        values["learning_rate"] = float(self.step.optimizer.param_groups[0]["lr"])
        return values

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)  # noqa: TID251
            self.network.load_state_dict(state["network"])
            self.step.load_optimizer(state["optimizer"])
            torch._foreach_copy_(self.average.weights, state["average"])
            self.progress = Progress(**state["progress"])
            set_random_state(state["random"], self.device)
            version, _, gauss = self._random.getstate()
            self._random.setstate((version, tuple(state["rounds"]), gauss))
        except _DAMAGE as error:
            raise DataError(
                f"{path} does not fit this configuration or is damaged ({_first_line(error)}); "
                "remove it to start again, or use another folder"
            ) from error
        log.info("resumed at step %d", self.progress.step)


@dataclass
class _Meter:
    """Steps per second since the last reading."""

    step: int
    time: float = field(default_factory=time.monotonic)

    def steps_per_second(self, step: int) -> float:
        now = time.monotonic()
        rate = (step - self.step) / max(now - self.time, 1e-9)
        self.step, self.time = step, now
        return rate


class _MetricsLog:
    """Metrics as JSON lines and for TensorBoard."""

    def __init__(self, folder: Path) -> None:
        self._lines = (folder / "metrics.jsonl").open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"))

    def write(self, progress: Progress, values: dict[str, float]) -> None:
        self._lines.write(json.dumps({**asdict(progress), **values}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, progress.step)

    def close(self) -> None:
        self._lines.close()
        self._board.close()


def _progress_line(progress: Progress, run: RunConfig, values: dict[str, float]) -> str:
    share = progress.share(run)
    left = progress.seconds * (1 - share) / max(share, 1e-6)
    return (
        f"step {progress.step:6d}  {100 * share:5.1f} %  loss {values['loss']:.3f}  "
        f"IoU@1 {values['iou_first']:.3f}  IoU@last {values['iou_last']:.3f}  "
        f"{values['steps_per_second']:.1f} steps/s  {values['shapes_per_second']:.0f} shapes/s  "
        f"{left / 60:.1f} min left"
    )


def _starting_network(config: TrainingConfig) -> PartSAM:
    if config.start:
        network = grown_network(load_network(config.start).network, config.network_config())
        if network is None:
            raise DataError(f"{config.start} has other sizes than the configuration asks for")
        return network.train().requires_grad_(True)
    try:
        return PartSAM(config.network_config())
    except ValueError as error:
        raise DataError(f"network_sizes do not fit together: {error}") from error


def grown_network(trained: PartSAM, wanted: NetworkConfig) -> PartSAM | None:
    """The trained network with additions that start as no change at all; None if `wanted` differs in more.

    How many patches there are, and whether shapes are set upright, is no weight and may differ.
    """
    scores = ("score_context", "score_regions")
    patch_layers = ("patch_layers", "patch_width", "patch_heads", "patch_regions")
    regions = ("region_prompt", "region_close_ups")
    names = ("size_prompt", "patches", "upright", *scores, *regions, *patch_layers)
    same = dataclasses.replace(trained.config, **{name: getattr(wanted, name) for name in names})
    if same != wanted:
        return None
    network = PartSAM(wanted)
    missing, unexpected = network.load_state_dict(trained.state_dict(), strict=False)
    fresh = (
        "size_prompts.",
        "decoder.mask_scores.context.",
        "decoder.mask_scores.regions.",
        "patch_context.",
        "decoder.regions.",
    )
    if unexpected or any(not name.startswith(fresh) for name in missing):
        return None
    return network


def _tune(network: PartSAM, device: torch.device, *, compile: bool) -> None:
    if device.type == CUDA:
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    if compile:
        start_compile_workers()
        # What is bound by memory traffic and has the same shapes in every round.
        network.encoder.compile(dynamic=False)
        network.patch_embeddings = torch.compile(network.patch_embeddings, dynamic=False)  # type: ignore[method-assign]
        network.mask_prompts.compile(dynamic=False)
        if network.patch_context is not None:
            network.patch_context.compile(dynamic=False)
        decoder = network.decoder
        decoder.point_logits = torch.compile(decoder.point_logits, dynamic=False)  # type: ignore[method-assign]
        if decoder.regions is not None:
            for name in ("at_patches", "mask_logits"):
                setattr(decoder.regions, name, torch.compile(getattr(decoder.regions, name), dynamic=False))


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder of the run: {error}") from error
    return folder


def _save_whole(state: dict[str, Any], path: Path) -> None:
    """The file appears whole or the old one stays."""
    try:
        with appearing_whole(path) as partial:
            torch.save(state, partial)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise DataError(f"cannot write {path}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _own_device(device: str) -> torch.device:
    if device == CUDA:
        return torch.device(device, int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device(device)
