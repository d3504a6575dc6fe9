# SPDX-License-Identifier: GPL-3.0-or-later
"""The session object: a network on a device, and what it computes for a shape as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .devices import chunk_elements, mixed_precision, pick_device
from .errors import Cancelled, CheckpointError, MeshError, PromptError
from .geometry import NEUTRAL_GREY, Mesh, Normalization, sample_surface
from .geometry.mesh import FloatArray, IntArray
from .network import (
    PRESETS,
    Decoding,
    Encoding,
    Locations,
    NetworkConfig,
    PartSAM,
    PatchGeometry,
    farthest_point_sampling,
    interpolation_weights,
    load_network,
    patch_geometry,
    untrained_network,
)
from .refinement.face_graph import build_face_graph
from .refinement.islands import dissolve_islands
from .segmentation.every_part import (
    Cancel,
    EveryPartSettings,
    Progress,
    stability_scores,
    suppress_overlaps,
)
from .segmentation.part_tree import build_partitions, order_by_size
from .segmentation.parts import Parts
from .segmentation.published import published_parts
from .segmentation.sites import Sites

MODELS_FOLDER = Path(__file__).parent / "models"
UNTRAINED = "-untrained"


@dataclass(frozen=True)
class EncodedShape:
    """Everything that any number of prompts on one shape shares. A value: hold it, pass it back.

    points: float32 [N, 3], in the network's cube
    normalization: from the caller's units into that cube
    sites: where faces (or, without a mesh, points) are labelled
    """

    points: FloatArray
    normalization: Normalization
    mesh: Mesh | None
    point_faces: IntArray | None
    geometry: PatchGeometry
    encoding: Encoding
    point_locations: Locations
    sites: Sites
    site_locations: Locations


@dataclass(frozen=True)
class MaskPrediction:
    """Masks for one set of clicks.

    point_logits: float32 [C, N]; face_logits: float32 [C, F], None for point clouds; inside where > 0
    scores: float32 [C], predicted IoU; C = 3 for a single click, else 1
    """

    point_logits: FloatArray
    face_logits: FloatArray | None
    scores: FloatArray

    @property
    def best(self) -> int:
        """The mask with the highest predicted IoU."""
        return int(self.scores.argmax())


def available_models() -> list[str]:
    """Names that `Segmenter.load` knows without a path."""
    trained = sorted(path.stem for path in MODELS_FOLDER.glob("*.safetensors"))
    return trained + [name + UNTRAINED for name in PRESETS]


class Segmenter:
    """A PartSAM network, ready to encode shapes and answer prompts.

    Holds no shape: `encode` returns a value that the other methods take.
    """

    def __init__(self, network: PartSAM, *, device: str = "cpu", name: str = "", trained: bool = True) -> None:
        self.network = network.to(device).eval()
        self.device = device
        self.model_name = name or network.config.name
        self.is_trained = trained

    @property
    def config(self) -> NetworkConfig:
        return self.network.config

    @classmethod
    def load(cls, model: str | Path = "small", *, device: str = "auto") -> Segmenter:
        """Load a bundled model by name, or a safetensors file (ours or the published checkpoint).

        `NAME-untrained` gives seeded random weights. Raises CheckpointError, DeviceError.
        """
        device = pick_device(device)
        name = str(model)
        if name.endswith(UNTRAINED) and name.removesuffix(UNTRAINED) in PRESETS:
            network = untrained_network(PRESETS[name.removesuffix(UNTRAINED)])
            return cls(network, device=device, name=name, trained=False)
        path = MODELS_FOLDER / f"{name}.safetensors"
        if not path.is_file():
            path = Path(model)
        if not path.is_file():
            raise CheckpointError(
                f"no model {name!r}: it is neither one of {', '.join(available_models())} nor a file"
            )
        loaded = load_network(path, device=device)
        return cls(loaded.network, device=device, name=path.stem)

    def encode(self, mesh: Mesh, *, seed: int = 0) -> EncodedShape:
        """Sample and encode a mesh; the same for the same seed. Raises MeshError for unusable meshes."""
        sample = sample_surface(mesh, self.config.points, seed=seed)
        return self.encode_points(
            sample.points, sample.normals, sample.colors, point_faces=sample.faces, mesh=mesh
        )

    def encode_points(
        self,
        points: FloatArray,
        normals: FloatArray,
        colors: FloatArray | None = None,
        *,
        point_faces: IntArray | None = None,
        mesh: Mesh | None = None,
    ) -> EncodedShape:
        """Encode points that the caller sampled, in random order.

        points, normals: [N, 3]; colors: [N, 3] RGB in [0, 1], grey if None
        mesh: whose faces to label; without one the points themselves are labelled
        point_faces: int [N], the face of `mesh` on which each point lies
        """
        points = np.asarray(points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3 or len(points) < 4:
            raise MeshError(f"at least 4 points of 3 coordinates are needed, got {list(points.shape)}")
        if not np.isfinite(points).all():
            raise MeshError("some points are not finite (NaN or infinite)")
        if colors is None:
            colors = np.full(points.shape, NEUTRAL_GREY, dtype=np.float32)
        normalization = Normalization.of_points(points)
        cube = normalization.apply(points)
        sites = Sites.of_points(points) if mesh is None else Sites.of_mesh(mesh, points, point_faces)
        geometry = patch_geometry(cube, self.config)
        with torch.inference_mode(), mixed_precision(self.device):
            encoding = self.network.encode(
                self._tensor(cube)[None],
                self._tensor(np.nan_to_num(normals))[None],
                self._tensor(np.nan_to_num(colors))[None],
                geometry.to(self.device),
            )
            point_locations = self._locate(encoding, cube)
            site_locations = (
                point_locations if mesh is None else self._locate(encoding, normalization.apply(sites.locations))
            )
        return EncodedShape(
            cube, normalization, mesh, point_faces, geometry, encoding, point_locations, sites, site_locations
        )

    def predict(
        self,
        shape: EncodedShape,
        points: FloatArray,
        labels: IntArray,
        *,
        previous: MaskPrediction | None = None,
    ) -> MaskPrediction:
        """Masks for clicks: points [P, 3] in the caller's units, labels [P] 1 (inside) or 0 (outside).

        previous: the last prediction for these clicks, refined by the new one
        """
        clicks = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        signs = np.asarray(labels).reshape(-1)
        if len(clicks) == 0 or len(clicks) != len(signs):
            raise PromptError(f"{len(clicks)} clicks with {len(signs)} labels; give at least one of each")
        if not np.isfinite(clicks).all() or not np.isin(signs, (0, 1)).all():
            raise PromptError("clicks must be finite points, labels 0 or 1")
        logits = None if previous is None else previous.point_logits[previous.best][None]
        cube = shape.normalization.apply(clicks).clip(-1, 1)
        with torch.inference_mode(), mixed_precision(self.device):
            decoding = self._decode(shape, self._tensor(cube)[None], self._tensor(signs)[None].long(), logits)
            masks = slice(1, 4) if len(clicks) == 1 else slice(0, 1)
            at_points = self.network.mask_logits(decoding, shape.point_locations, masks)[0, 0]
            scores = decoding.iou[0, 0, masks].float().cpu().numpy()
            face_logits = None
            if shape.sites.of_face is not None:
                at_sites = self.network.mask_logits(decoding, shape.site_locations, masks)[0, 0]
                face_logits = at_sites.float().cpu().numpy()[:, shape.sites.of_face]
        return MaskPrediction(at_points.float().cpu().numpy(), face_logits, scores)

    @torch.inference_mode()
    def predict_batch(
        self, shape: EncodedShape, points: Tensor, labels: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """M independent sets of P clicks at once; tensors in, tensors on this device out.

        points: [M, P, 3] in the network's cube; labels: [M, P]; previous: logits [M, N] of the last round
        returns: logits at the shape's points float32 [M, C, N], predicted IoUs [M, C]
        """
        masks = slice(1, 4) if points.shape[1] == 1 else slice(0, 1)
        logits, scores = [], []
        count = len(shape.points) * self.config.mask_channels
        for start in range(0, len(points), self._chunk(count)):
            chunk = slice(start, start + self._chunk(count))
            prior = None if previous is None else previous[chunk]
            with mixed_precision(self.device):
                decoding = self._decode(
                    shape,
                    points[chunk].to(self.device).float(),
                    labels[chunk].to(self.device).long(),
                    prior,
                )
                logits.append(self.network.mask_logits(decoding, shape.point_locations, masks)[0].float())
                scores.append(decoding.iou[0, :, masks].float())
        return torch.cat(logits), torch.cat(scores)

    @torch.inference_mode()
    def field(self, shape: EncodedShape, locations: FloatArray) -> FloatArray:
        """The encoder's features at locations [K, 3] of the network's cube: float32 [K, C]."""
        features = self.network.field(shape.encoding.texels, self._tensor(locations)[None])
        return features[0].float().cpu().numpy()

    @torch.inference_mode()
    def segment_every_part(
        self,
        shape: EncodedShape,
        *,
        prompts: int = 512,
        prompt_batch: int = 64,
        settings: EveryPartSettings | None = None,
        strict_paper: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Parts:
        """Find all parts by prompting everywhere.

        prompts: clicks, spread by farthest point sampling; prompt_batch: of them decoded at once
        strict_paper: the published procedure with its fixed threshold (one granularity only)
        progress: called with a stage name and a share of it; cancel: asked often, raises Cancelled
        """
        settings = settings or EveryPartSettings()
        report = progress or (lambda stage, share: None)
        clicks = self._tensor(shape.points[farthest_point_sampling(shape.points, min(prompts, len(shape.points)))])
        if strict_paper:
            logits, scores = self._decode_everywhere(shape, clicks, prompt_batch, report, cancel)
            return published_parts(shape.sites, logits, scores, shape.mesh, shape.point_faces)
        kept, scores = self._proposals(shape, clicks, prompt_batch, settings, report, cancel)
        logits = self._decode_kept(shape, clicks, kept, report, cancel)
        report("parts", 0.0)
        parts = _assemble(shape, logits, scores, settings)
        report("parts", 1.0)
        return parts

    def _proposals(
        self,
        shape: EncodedShape,
        clicks: Tensor,
        prompt_batch: int,
        settings: EveryPartSettings,
        report: Progress,
        cancel: Cancel | None,
    ) -> tuple[Tensor, FloatArray]:
        """Kept candidates, int64 [K, 2] (click, mask token 1..3), and their scores, best first."""
        coarse = self._coarse_locations(shape, settings.coarse_points)
        found, masks, scores = [], [], []
        for start in range(0, len(clicks), prompt_batch):
            _check(cancel)
            report("prompts", start / len(clicks))
            batch = clicks[start : start + prompt_batch]
            with mixed_precision(self.device):
                decoding = self._decode(shape, batch[:, None], torch.ones(len(batch), 1, device=self.device).long())
                logits = self.network.mask_logits(decoding, coarse, slice(1, 4))[0].float()
            score = decoding.iou[0, :, 1:].float()
            good = (score > settings.min_score) & (
                stability_scores(logits, settings.stability_offset) > settings.min_stability
            )
            click, token = good.nonzero(as_tuple=True)
            found.append(torch.stack([click + start, token + 1], dim=1))
            masks.append(logits[click, token] > 0)
            scores.append(score[click, token])
        candidates, score = torch.cat(found), torch.cat(scores)
        kept = suppress_overlaps(torch.cat(masks), score, settings.nms_iou, limit=settings.max_masks)
        return candidates[kept], score[kept].cpu().numpy()

    def _decode_kept(
        self, shape: EncodedShape, clicks: Tensor, kept: Tensor, report: Progress, cancel: Cancel | None
    ) -> FloatArray:
        """Logits of the kept candidates at all sites, float16 [K, S]."""
        sites = len(shape.sites.locations)
        logits = np.empty((len(kept), sites), dtype=np.float16)
        step = self._chunk(sites * self.config.mask_channels)
        for start in range(0, len(kept), step):
            _check(cancel)
            report("faces", start / len(kept))
            click, token = kept[start : start + step].unbind(dim=1)
            with mixed_precision(self.device):
                ones = torch.ones(len(click), 1, device=self.device).long()
                decoding = self._decode(shape, clicks[click][:, None], ones)
                vectors = decoding.mask_vectors[0, torch.arange(len(click), device=self.device), token]
                chosen = Decoding(decoding.patch_features, vectors[None, :, None], decoding.iou)
                values = self.network.mask_logits(chosen, shape.site_locations)[0, :, 0]
            logits[start : start + len(click)] = values.float().clamp(-30, 30).half().cpu().numpy()
        return logits

    def _decode_everywhere(
        self, shape: EncodedShape, clicks: Tensor, prompt_batch: int, report: Progress, cancel: Cancel | None
    ) -> tuple[FloatArray, FloatArray]:
        """All three masks of all clicks at all points: bool [3 K, N] and scores [3 K]."""
        masks, scores = [], []
        step = min(prompt_batch, self._chunk(len(shape.points) * self.config.mask_channels))
        for start in range(0, len(clicks), step):
            _check(cancel)
            report("prompts", start / len(clicks))
            batch = clicks[start : start + step, None]
            logits, score = self.predict_batch(shape, batch, torch.ones(len(batch), 1))
            masks.append((logits > 0).flatten(0, 1).cpu().numpy())
            scores.append(score.flatten().cpu().numpy())
        return np.concatenate(masks), np.concatenate(scores)

    def _coarse_locations(self, shape: EncodedShape, count: int) -> Locations:
        """The first points of a shape, which are as random as all of them."""
        all_points = shape.point_locations
        return Locations(
            all_points.features[:, :, :count], all_points.index[:, :count], all_points.weight[:, :count]
        )

    def _decode(
        self, shape: EncodedShape, points: Tensor, labels: Tensor, logits: FloatArray | Tensor | None = None
    ) -> Decoding:
        """Decode clicks [M, P, 3] of one shape; logits [M, N] of the previous round."""
        mask_logits = None
        if logits is not None:
            chosen = torch.as_tensor(logits)[:, shape.geometry.mask_point_index[0].to(torch.as_tensor(logits).device)]
            mask_logits = chosen.to(self.device).float()[None]
        return self.network.decode(shape.encoding, points[None], labels[None], mask_logits)

    def _locate(self, encoding: Encoding, cube: FloatArray) -> Locations:
        index, weight = interpolation_weights(encoding.centers[0].float().cpu().numpy(), cube)
        return self.network.locate(
            encoding, self._tensor(cube)[None], index.to(self.device), weight.to(self.device)
        )

    def _chunk(self, elements_per_prompt: int) -> int:
        return max(1, chunk_elements(self.device) // elements_per_prompt)

    def _tensor(self, array: FloatArray | IntArray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array, dtype=np.float32), device=self.device)


def _check(cancel: Cancel | None) -> None:
    if cancel is not None and cancel():
        raise Cancelled()


def _assemble(
    shape: EncodedShape, logits: FloatArray, scores: FloatArray, settings: EveryPartSettings
) -> Parts:
    """Partitions for all granularities from the kept masks."""
    weights = shape.sites.weights
    order = order_by_size(logits > 0, weights)
    logits, scores = logits[order], scores[order]
    values = logits.astype(np.float32)
    raw = build_partitions(values, scores, weights, settings.tree)
    if shape.mesh is None or shape.sites.of_face is None:
        return Parts(shape.sites, logits, scores, raw, None, None)
    graph = build_face_graph(shape.mesh)
    connected = raw
    if len(shape.sites.locations) == shape.mesh.face_count:  # else islands wait for refinement
        connected = build_partitions(
            values, scores, weights, settings.tree, clean=lambda labels: dissolve_islands(graph, labels)
        )
    return Parts(shape.sites, logits, scores, raw, connected, graph)
