# SPDX-License-Identifier: GPL-3.0-or-later
"""Encoding and decoding as a graphics card likes them: recorded once, replayed without Python.

A network of this size spends most of a click on launching several hundred small kernels one by one. A
recording launches them all at once. It holds for inputs of one shape, so each shape has its own.
"""

from __future__ import annotations

import logging
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..devices import Record, computes_in_half, graph_recorder, mixed_precision
from ..region_features import MAX_REGIONS
from .model import Decoding, Encoding, PartSAM, attributes_at
from .patches import PatchGeometry
from .region_prompts import Regions

logger = logging.getLogger(__name__)

Tensors = tuple[Tensor | None, ...]
Compute = Callable[..., Tensors]

_KEPT = 12
"""Recordings at a time: those of one and of a few clicks, with and without a mask before, and of batches."""

_TOLERANCE = 0.02
"""How far a recording may be from what was computed step by step, of its norm: half precision rounds the
sums of points in a texel differently each time. A recording that reads stale memory is off by more."""


@dataclass
class _Recording:
    """inputs: what a replay reads; given: the tensors that were last copied there, if they still live"""

    replay: Callable[[], None]
    inputs: Tensors
    results: Tensors
    given: tuple[weakref.ref[Tensor] | None, ...]

    def answer(self, inputs: Tensors) -> Tensors:
        """The results for `inputs`. Tensors do not change here, so that what is there is not copied again:
        copying an encoding takes a part of the time of a click."""
        for own, last, new in zip(self.inputs, self.given, inputs, strict=True):
            if own is not None and new is not None and (last is None or last() is not new):
                own.copy_(new)
        self.given = _references(inputs)
        self.replay()
        return _copied(self.results)


class Recordings:
    """Computations by name and by the shapes of their inputs; recorded when they are asked for again."""

    def __init__(self, record: Record | None) -> None:
        """record: how to; None computes everything step by step."""
        self._record = record
        self._seen: Counter[tuple[object, ...]] = Counter()
        self._held: OrderedDict[tuple[object, ...], _Recording] = OrderedDict()

    @property
    def records(self) -> bool:
        """Whether anything is recorded at all."""
        return self._record is not None

    def run(self, name: str, compute: Compute, *inputs: Tensor | None) -> Tensors:
        """`compute(*inputs)`, whose results do not change when it is run again and lie in no weight."""
        if self._record is None:
            return compute(*inputs)
        key = (name, *(None if x is None else (tuple(x.shape), x.dtype) for x in inputs))
        self._seen[key] += 1
        recording = self._held.get(key)
        if recording is None:
            if self._seen[key] == 1:
                return compute(*inputs)
            return self._recorded(key, self._record, compute, inputs)
        self._held.move_to_end(key)
        return recording.answer(inputs)

    def clear(self) -> bool:
        """Give back the memory that recordings hold; whether there were any."""
        any_held = bool(self._held)
        self._held.clear()
        self._seen.clear()
        return any_held

    def _recorded(
        self, key: tuple[object, ...], record: Record, compute: Compute, inputs: Tensors
    ) -> Tensors:
        """Record, and compare; where it fails or differs, nothing is recorded from then on."""
        results = compute(*inputs)
        own = _copied(inputs)
        try:
            replay, replayed = record(lambda: compute(*own))
            _blank(replayed, own)  # an empty recording would leave what was computed while recording
            replay()
            fault = "" if _agree(results, replayed) else "its results differ"
        except RuntimeError as error:
            fault = str(error)[:200]
        if fault:
            logger.warning("%s is computed step by step, as it cannot be recorded: %s", key[0], fault)
            self._record = None
            self.clear()
            return results
        self._held[key] = _Recording(replay, own, replayed, _references(inputs))
        while len(self._held) > _KEPT:
            self._held.popitem(last=False)
        return results


class DeviceNetwork:
    """A network on its device: encodes and decodes there, in the precision that suits it.

    plain: float32, nothing recorded
    """

    def __init__(self, network: PartSAM, device: str, *, plain: bool = False) -> None:
        self.network = network.to(device).eval()
        self.device, self.plain = device, plain
        self.recordings = Recordings(None if plain else graph_recorder(device))

    def encode(
        self,
        points: Tensor,
        normals: Tensor,
        colors: Tensor,
        geometry: PatchGeometry,
        regions: Callable[[], Regions] | None = None,
    ) -> Encoding:
        """As `PartSAM.encode`; regions: how to get them, which is asked while the device makes the field."""

        def field(*surface: Tensor) -> Tensors:
            with self._recordable_precision():
                return (self.network.encoder(*surface),)

        def patches(texels: Tensor, points: Tensor, attributes: Tensor, *rest: Tensor) -> Tensors:
            known = None if rest[-1] is None else Regions(*rest[-2:])
            with self._recordable_precision():
                given = (texels, points, attributes, PatchGeometry(*rest[:-2]), known)
                return _values(self.network.encode_patches(*given))

        (texels,) = self.recordings.run("field", field, points, normals, colors)
        known: Tensors = (None, None)
        if regions is not None:
            found = regions()
            known = (found.of_points, self._recordable_pairs(found.pairs))
        inputs = (texels, points, attributes_at(points, normals, colors), *_values(geometry), *known)
        return Encoding(*self.recordings.run("encoding", patches, *inputs))  # type: ignore[arg-type]

    def decode(
        self,
        encoding: Encoding,
        points: Tensor,
        labels: Tensor,
        mask_logits: Tensor | None = None,
        sizes: Tensor | None = None,
        click_regions: Tensor | None = None,
    ) -> Decoding:
        """As `PartSAM.decode`."""

        def compute(*inputs: Tensor) -> Tensors:
            own, asked = inputs[: len(fields(Encoding))], inputs[len(fields(Encoding)) :]
            with self._recordable_precision():
                return _values(self.network.decode(Encoding(*own), *asked))

        asked = (points, labels, mask_logits, sizes, click_regions)
        return Decoding(*self.recordings.run("decoding", compute, *_values(encoding), *asked))  # type: ignore[arg-type]

    def round_weights(self) -> None:
        """Keep the factors of products in the precision that they are computed in, where that is half: they
        need not be converted for each of them, and the answers are the same. Changes the network."""
        if computes_in_half(self.device):
            round_weights(self.network)

    def precision(self, *, keeps_weights: bool = True) -> AbstractContextManager[object]:
        """The precision that suits the network and the device. keeps_weights: see `mixed_precision`."""
        return mixed_precision(
            self.device,
            half=self.network.config.half_precision,
            wanted=not self.plain,
            keeps_weights=keeps_weights,
        )

    def _recordable_pairs(self, pairs: Tensor) -> Tensor:
        """A recording holds for one shape of inputs, not for as many atoms as one mesh has."""
        missing = MAX_REGIONS - pairs.shape[1]
        return F.pad(pairs, (0, 0, 0, missing, 0, missing)) if self.recordings.records else pairs

    def _recordable_precision(self) -> AbstractContextManager[object]:
        # A recording must not read the copies of weights that autocast keeps until its block ends.
        return self.precision(keeps_weights=not self.recordings.records)


def round_weights(network: PartSAM) -> None:
    """Weights of products in the network's half precision; all others stay as they are."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d):
            module.to(getattr(torch, network.config.half_precision))


def _values(record: Encoding | Decoding | PatchGeometry) -> Tensors:
    return tuple(getattr(record, field.name) for field in fields(record))


def _references(tensors: Tensors) -> tuple[weakref.ref[Tensor] | None, ...]:
    return tuple(None if tensor is None else weakref.ref(tensor) for tensor in tensors)


def _copied(tensors: Tensors) -> Tensors:
    return tuple(None if tensor is None else tensor.clone() for tensor in tensors)


def _blank(results: Tensors, inputs: Tensors) -> None:
    """Zero all results but those that lie in an input's memory, which no replay writes again."""
    given = {tensor.untyped_storage().data_ptr() for tensor in inputs if tensor is not None}
    for tensor in results:
        if tensor is not None and tensor.untyped_storage().data_ptr() not in given:
            tensor.zero_()


def _agree(expected: Tensors, found: Tensors) -> bool:
    """Whether both are the same but for rounding."""
    for first, second in zip(expected, found, strict=True):
        if first is None or second is None:
            if first is not second:
                return False
        elif not first.is_floating_point():
            if not torch.equal(first, second):
                return False
        else:
            gap = (first.float() - second.float()).norm()
            if not bool(gap <= _TOLERANCE * first.float().norm() + 1e-6):
                return False
    return True
