# SPDX-License-Identifier: GPL-3.0-or-later
"""One optimiser step, from drawing the batch to the updated weights.

On CUDA the whole step is captured as a graph, once per kind of interaction: nothing in it depends on the
host, and replaying it costs one launch instead of several thousand.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import AdamW

from ..devices import CUDA, mixed_precision
from ..network import PartSAM
from .batch import BatchSampler
from .config import OptimizerConfig, TrainingConfig
from .interaction import METRICS, Interaction, interactive_loss
from .muon import SMALLEST_SIDE, Muon

_WARMUP_STEPS = 2

_NOT_ORTHOGONAL = ("decoder.regions.", "decoder.mask_scores.regions.", "patch_context.regions.")
"""Parameters that AdamW steps even where Muon steps matrices: layers that read measured features, whose
columns repeat each other, and layers that start at zero. Few directions of their gradients matter, and Muon
would step as far along all others: what shall be learned from nothing in a short run needs longer steps."""


class TrainStep:
    """Holds what a step changes: weights, optimiser, and sums of the metrics since they were last read."""

    def __init__(self, network: PartSAM, sampler: BatchSampler, config: TrainingConfig) -> None:
        self.network = network
        self.sampler = sampler
        self.config = config
        self.device = sampler.store.device
        matrices, groups = _parameter_groups(network, config.optimizer)
        self.parameters = [*matrices, *(p for group in groups for p in group["params"])]
        on_gpu = self.device.type == CUDA
        # A tensor, because a captured step reads it from where it was when it was captured.
        self.learning_rate = torch.zeros((), device=self.device)
        self.optimizer = AdamW(
            groups,
            lr=self.learning_rate,
            betas=(0.9, config.optimizer.beta2),
            fused=True,
            capturable=on_gpu,
        )
        self.muon: Muon | None = None
        if matrices:
            decay = config.optimizer.weight_decay
            self.muon = Muon(matrices, self.learning_rate, weight_decay=decay)
        self._sums = torch.zeros(len(METRICS) + 3, device=self.device)
        self._graphs: dict[Interaction, torch.cuda.CUDAGraph] = {}
        self._use_graphs = on_gpu and config.run.graphs
        # One pool for all graphs: they run one after the other, and none reads what another left behind.
        self._pool = torch.cuda.graph_pool_handle() if self._use_graphs else None

    def __call__(self, interaction: Interaction, learning_rate: float) -> None:
        """One step with this kind of interaction."""
        self.learning_rate.fill_(learning_rate)
        if not self._use_graphs:
            self.launch(interaction)
            return
        if interaction not in self._graphs:
            self._graphs[interaction] = self._capture(interaction)
        self._graphs[interaction].replay()

    def release(self) -> None:
        """Give up the captured steps; before the process group is destroyed.

        NCCL (2.26 and later, by its documentation of CUDA graphs) destroys a communicator only when no graph
        holds it any more.
        """
        for graph in self._graphs.values():
            graph.reset()
        self._graphs.clear()

    def take_data(self, sampler: BatchSampler) -> None:
        """Draw from other shapes; steps are captured again, for they read where the old ones were."""
        self.release()
        self.sampler = sampler

    def optimizer_state(self) -> dict[str, Any]:
        """For `load_optimizer`."""
        state: dict[str, Any] = self.optimizer.state_dict()
        return state if self.muon is None else {**state, "muon": self.muon.state_dict()}

    def load_optimizer(self, state: dict[str, Any]) -> None:
        """Restore the optimiser from its `optimizer_state`; before the first step."""
        if self.muon is not None:
            self.muon.load_state_dict(state["muon"])
        self.optimizer.load_state_dict({key: state[key] for key in ("state", "param_groups")})
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate  # loading puts a copy there, which no schedule would reach

    def read_metrics(self) -> dict[str, float]:
        """Means since the last call over all ranks, and how many steps were skipped. Waits for the device."""
        sums = self._sums.clone()
        self._sums.zero_()
        if dist.is_initialized():
            dist.all_reduce(sums)
        *values, count, skipped = sums.tolist()
        means = [value / count if count else math.nan for value in values]
        return dict(zip((*METRICS, "gradient_norm", "skipped"), (*means, skipped), strict=True))

    def _capture(self, interaction: Interaction) -> torch.cuda.CUDAGraph:
        """Record the step. The warm-up steps before it are real ones."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARMUP_STEPS):
                self.launch(interaction)
        torch.cuda.current_stream().wait_stream(stream)
        self.network.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        # Only this thread's calls are part of it: NCCL's watchdog asks for events from another one.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            self.launch(interaction)
        self.network.zero_grad(set_to_none=True)  # the graph keeps its own gradients
        return graph

    def launch(self, interaction: Interaction) -> None:
        """One step at the rate that was set last, operation by operation."""
        self.network.zero_grad(set_to_none=True)
        with torch.no_grad():
            batch = self.sampler()
        with mixed_precision(self.device.type):
            result = interactive_loss(
                self.network,
                batch,
                interaction=interaction,
                clicks=self.config.clicks,
                losses=self.config.losses,
            )
        result.loss.backward()
        norm, usable = self._set_gradients(self._mean_gradients())
        # AdamW leaves weights, moments and its count of steps alone where it is told of an overflow; a
        # gradient of zero instead would still move the weights by their momentum and decay.
        self.optimizer.found_inf = 1 - usable.float()  # type: ignore[attr-defined]
        self.optimizer.step()
        if self.muon is not None:
            self.muon.step(usable)
        metrics = torch.cat([result.metrics, norm.view(1), torch.ones(1, device=self.device)])
        self._sums += torch.cat([torch.where(usable, metrics, 0), 1 - usable.float().view(1)])

    def _mean_gradients(self) -> Tensor:
        """The mean of all ranks' gradients, one flat vector.

        Data parallelism by hand, in one message: it can be part of a captured step.
        """
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters]
        flat = torch.cat([g.flatten() for g in gradients])
        if dist.is_initialized():
            flat /= dist.get_world_size()
            dist.all_reduce(flat)
        return flat

    def _set_gradients(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Give the parameters their part of a flat gradient, clipped; its norm and whether it is finite."""
        norm = flat.norm()
        usable = norm.isfinite()
        flat = torch.where(usable, flat * (self.config.optimizer.clip_norm / (norm + 1e-6)).clamp(max=1), 0)
        start = 0
        for parameter in self.parameters:
            count = parameter.numel()
            parameter.grad = flat[start : start + count].view_as(parameter)
            start += count
        return norm, usable


def _parameter_groups(network: PartSAM, config: OptimizerConfig) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """Matrices that Muon steps, and the groups of AdamW.

    Of the latter matrices decay towards zero; norms, biases, tokens, embeddings stay where they are learned.
    """
    orthogonal: list[Tensor] = []
    decayed: list[Tensor] = []
    kept: list[Tensor] = []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        is_token = name.rsplit(".", 1)[-1].endswith(("token", "tokens", "embedding", "position"))
        if parameter.ndim < 2 or is_token:
            kept.append(parameter)
        elif config.matrices == "muon" and _is_hidden(name, parameter):
            orthogonal.append(parameter)
        else:
            decayed.append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return orthogonal, groups


def _is_hidden(name: str, parameter: Tensor) -> bool:
    """Whether it is a matrix between hidden layers, whose directions count alike."""
    return min(parameter.flatten(1).shape) >= SMALLEST_SIDE and not name.startswith(_NOT_ORTHOGONAL)


class AveragedWeights:
    """Exponential moving average of a network's weights."""

    def __init__(self, network: PartSAM, decay: float) -> None:
        self.decay = decay
        self._source = [p.detach() for p in network.parameters()]
        self.weights = [p.clone() for p in self._source]

    def update(self, step: int, *, every: int = 1) -> None:
        """Take in the weights after `step` steps, `every` of them since the last call."""
        decay = min(self.decay, (1 + step) / (10 + step)) ** every
        torch._foreach_lerp_(self.weights, self._source, 1 - decay)

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """The network with averaged weights, for saving and measuring."""
        kept = [p.clone() for p in self._source]
        torch._foreach_copy_(self._source, self.weights)
        try:
            yield
        finally:
            torch._foreach_copy_(self._source, kept)
