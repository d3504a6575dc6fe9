# SPDX-License-Identifier: GPL-3.0-or-later
"""A network on a device, and what it computes for a shape as plain values."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .devices import pick_device, works_by_itself
from .encoding import ShapeEncoder
from .errors import CheckpointError, MeshError, PromptError
from .geometry import (
    NEUTRAL_GREY,
    Mesh,
    face_centroids,
    face_normals,
    sample_surface,
    validate_mesh,
)
from .geometry.mesh import FloatArray, IntArray
from .nearest import nearest_faced
from .network import (
    PRESETS,
    DeviceNetwork,
    Locations,
    NetworkConfig,
    PartSAM,
    farthest_point_sampling,
    load_network,
    untrained_network,
)
from .network.mask_decoder import Attention
from .segmentation import EncodedShape, EveryPartSettings, Parts, PromptDecoder
from .segmentation.close_up import CloseUp
from .segmentation.every_part import Cancel, Progress, find_parts, find_parts_as_published
from .segmentation.point_normals import estimate_normals
from .segmentation.together import JointPrediction, joint_prompts

__all__ = ["CloseUp", "EncodedShape", "JointPrediction", "MaskPrediction", "Segmenter", "available_models"]

MODELS_FOLDER = Path(__file__).parent / "models"
UNTRAINED = "-untrained"

_WARM_UPS = 3
"""The first sets libraries up, the second is recorded, the third replayed."""


@dataclass(frozen=True)
class MaskPrediction:
    """Masks for one set of clicks.

    point_logits: float32 [C, N]; face_logits: float32 [C, F], None for point clouds; inside where > 0
    scores: float32 [C], predicted IoU; C = 3 for a single click, else 1
    best: the mask that is meant: of the highest predicted IoU, or, where a network that takes no sizes was
        told one, the one nearest to it
    """

    point_logits: FloatArray
    face_logits: FloatArray | None
    scores: FloatArray
    best: int


def available_models() -> list[str]:
    """Names that `Segmenter.load` knows without a path."""
    trained = sorted(path.stem for path in MODELS_FOLDER.glob("*.safetensors"))
    return trained + [name + UNTRAINED for name in PRESETS]


class Segmenter:
    """A PartSAM network, ready to encode shapes and answer prompts.

    Holds no shape: `encode` returns a value that the other methods take.
    """

    prompt_batch = 64
    """Prompts that are decoded at once, where there is memory for them."""

    def __init__(
        self, network: PartSAM, *, device: str = "cpu", name: str = "", trained: bool = True
    ) -> None:
        self._on_device = DeviceNetwork(network, device)
        self.network, self.device = self._on_device.network, device
        self.model_name = name or network.config.name
        self.is_trained = trained

    def plain(self) -> Segmenter:
        """The same network without what makes it fast: float32, the textbook's attention, every mask
        evaluated everywhere. What the fast one is to be compared with."""
        other = Segmenter(
            copy.deepcopy(self.network), device=self.device, name=self.model_name, trained=self.is_trained
        )
        other._on_device = DeviceNetwork(other.network, self.device, plain=True)
        for module in other.network.modules():
            if isinstance(module, Attention):
                module.reorders = False
        return other

    @property
    def config(self) -> NetworkConfig:
        return self.network.config

    def warm_up(self, *, times: int = _WARM_UPS) -> None:
        """Have everything set itself up that a device needs for its first shape and clicks; when that is done
        several times, record what it records, too. Does nothing on a CPU."""
        if not works_by_itself(self.device):
            return
        points = np.random.default_rng(0).normal(size=(self.config.points, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        for _ in range(times):
            shape = self.encode_points(points, points)
            first = self.predict(shape, points[:1], np.array([1]))
            self.predict(shape, points[:2], np.array([1, 0]), previous=first)
        with torch.inference_mode():
            clicks = self._tensor(points[: self.prompt_batch, None])
            for _ in range(times):
                PromptDecoder(self._on_device, shape).decode(clicks)

    def release_recordings(self) -> bool:
        """Give back the memory of recorded computations; whether there were any."""
        return self._on_device.recordings.clear()

    @property
    def takes_size(self) -> bool:
        """Whether the network was trained to be told a part's size."""
        return self.config.size_prompt

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
        normals: FloatArray | None = None,
        colors: FloatArray | None = None,
        *,
        point_faces: IntArray | None = None,
        mesh: Mesh | None = None,
    ) -> EncodedShape:
        """Encode points that the caller sampled, in random order.

        points: [N, 3]; normals: [N, 3], estimated if None; colors: [N, 3] RGB in [0, 1], grey if None
        mesh: whose faces to label; without one the points themselves are labelled
        point_faces: int [N], the face of `mesh` on which each point lies; None takes the nearest
        Raises MeshError for arrays or a mesh that cannot be used.
        """
        points = np.asarray(points, dtype=np.float64)
        if colors is None:
            colors = np.full(points.shape, NEUTRAL_GREY, dtype=np.float32)
        if normals is None:
            _check_points(points, points, colors)
            normals = estimate_normals(points)
        _check_points(points, normals, colors)
        if mesh is not None:
            validate_mesh(mesh)
            point_faces = _faces_of_points(mesh, points, normals, point_faces)
        return self._encoder.whole(
            points, np.nan_to_num(normals), np.nan_to_num(colors), mesh=mesh, point_faces=point_faces
        )

    def close_up(
        self, shape: EncodedShape, points: FloatArray, size: float, *, seed: int = 0
    ) -> CloseUp | None:
        """Encode the surroundings of clicks [P, 3] into a part of about that share of the surface, anew and
        with all points. Costs as much as `encode`; `predict` then finds small parts much better.

        None where that would not help: parts of 2 % or more, clicks far apart, point clouds.
        """
        return self._encoder.close_up(shape, _checked_clicks(points), size, seed=seed)

    @property
    def _encoder(self) -> ShapeEncoder:
        return ShapeEncoder(self._on_device)

    def predict(
        self,
        shape: EncodedShape,
        points: FloatArray,
        labels: IntArray,
        *,
        previous: MaskPrediction | None = None,
        size: float | None = None,
        zoom: CloseUp | None = None,
    ) -> MaskPrediction:
        """Masks for clicks: points [P, 3] in the caller's units, labels [P] 1 (inside) or 0 (outside).

        previous: the last prediction for these clicks, refined by the new one
        size: about which share of the surface the part takes, in (0, 1]; None: unknown
        zoom: where to look closely, too, a `close_up` of the shape around the clicks inside; the answer with
            the higher predicted IoU counts
        """
        clicks = _checked_clicks(points)
        signs = np.asarray(labels).reshape(-1)
        if len(clicks) != len(signs):
            raise PromptError(f"{len(clicks)} clicks with {len(signs)} labels; give one for each")
        if not np.isin(signs, (0, 1)).all():
            raise PromptError("labels must be 0 or 1")
        if previous is not None and previous.point_logits.shape[1] != len(shape.points):
            raise PromptError("the previous prediction belongs to another shape; leave it out")
        if size is not None and not 0 < size <= 1:
            raise PromptError(f"size is a share of the surface, above 0 and at most 1, not {size}")
        cube = self._tensor(shape.normalization.apply(clicks).clip(-1, 1))[None]
        prior = None if previous is None else torch.as_tensor(previous.point_logits[previous.best][None])
        sizes = None if size is None else torch.tensor([size])
        at_points, at_faces, scores = self._answers(
            shape, cube, self._tensor(signs)[None].long(), prior, sizes
        )
        faces = None if at_faces is None else at_faces[0]
        answer = MaskPrediction(at_points[0], faces, scores[0], self._meant(at_points[0], scores[0], size))
        if zoom is None:
            return answer
        closer = self._predict_closely(shape, zoom, clicks, signs, previous, size)
        return closer if closer.scores[closer.best] >= answer.scores[answer.best] else answer

    def _meant(self, at_points: FloatArray, scores: FloatArray, size: float | None) -> int:
        """Which of the masks [C, N] with predicted IoUs [C] is meant, if the part is of that size."""
        if size is None or self.takes_size:
            return int(scores.argmax())
        share = (at_points > 0).mean(axis=1).clip(min=1e-6)
        return int(np.abs(np.log(share / size)).argmin())

    @torch.inference_mode()
    def _predict_closely(
        self,
        shape: EncodedShape,
        zoom: CloseUp,
        clicks: FloatArray,
        signs: IntArray,
        previous: MaskPrediction | None,
        size: float | None,
    ) -> MaskPrediction:
        seen = (signs == 1) | zoom.ball.reaches(clicks)  # nothing outside of the ball can be in the mask
        crop = zoom.encoded
        cube = self._tensor(crop.normalization.apply(clicks[seen]).clip(-1, 1))[None]
        prior = None
        if previous is not None and previous.face_logits is not None:
            prior = torch.as_tensor(zoom.own_logits(previous.face_logits[[previous.best]]))
        sizes = None if size is None else torch.tensor([min(size / zoom.ball.share, 1.0)])
        masks = _offered(cube)
        decoder = PromptDecoder(self._on_device, crop)
        decoding = decoder.decode(cube, self._tensor(signs[seen])[None].long(), prior, sizes)
        at_points = decoder.estimated_logits(decoding, crop.point_locations, masks)[0]
        at_sites = decoder.estimated_logits(decoding, crop.site_locations, masks)[0]
        scores = decoding.iou[0, 0, masks].float().cpu().numpy()
        point_logits = zoom.on_whole(at_points, shape).cpu().numpy()
        face_logits = zoom.at_faces(at_sites, shape).cpu().numpy()
        return MaskPrediction(point_logits, face_logits, scores, self._meant(point_logits, scores, size))

    def predict_parts(self, shape: EncodedShape, clicks: Sequence[FloatArray]) -> JointPrediction:
        """Several parts at once: each one's clicks are positive for it and negative for its neighbours.

        clicks: for each part an array [P, 3] in the caller's units, at least one click each
        Raises PromptError.
        """
        if len(clicks) == 0:
            raise PromptError("asking for parts takes the clicks of at least one")
        cubes = [shape.normalization.apply(_checked_clicks(points)).clip(-1, 1) for points in clicks]
        points, labels = joint_prompts(cubes)
        at_points, at_faces, scores = self._answers(
            shape, self._tensor(points), self._tensor(labels).long(), None, None
        )
        best = scores.argmax(axis=1)  # a single click has three readings
        rows = np.arange(len(best))
        return JointPrediction(
            at_points[rows, best], None if at_faces is None else at_faces[rows, best], scores[rows, best]
        )

    @torch.inference_mode()
    def _answers(
        self,
        shape: EncodedShape,
        points: Tensor,
        labels: Tensor,
        previous: Tensor | None,
        sizes: Tensor | None,
    ) -> tuple[FloatArray, FloatArray | None, FloatArray]:
        """Logits at points [M, C, N] and at faces [M, C, F] (None for point clouds), and scores [M, C]."""
        masks = _offered(points)
        decoder = PromptDecoder(self._on_device, shape)
        at_points, at_faces, scores = [], [], []
        step = decoder.prompts_at_once(len(points))
        for start in range(0, len(points), step):
            chunk = slice(start, start + step)
            decoding = decoder.decode(points[chunk], labels[chunk], previous, _rows(sizes, chunk))
            # All of it is asked for before anything is waited for.
            found = [
                decoder.estimated_logits(decoding, shape.point_locations, masks),
                decoding.iou[0, :, masks].float(),
            ]
            if shape.sites.of_face is not None:
                at_sites = decoder.estimated_logits(decoding, shape.site_locations, masks)
                found.append(shape.at_faces(at_sites))
            arrays = [tensor.cpu().numpy() for tensor in found]
            at_points.append(arrays[0])
            scores.append(arrays[1])
            at_faces += arrays[2:]
        faces = np.concatenate(at_faces) if at_faces else None
        return np.concatenate(at_points), faces, np.concatenate(scores)

    @torch.inference_mode()
    def predict_batch(
        self,
        shape: EncodedShape,
        points: Tensor,
        labels: Tensor,
        previous: Tensor | None = None,
        sizes: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """M independent sets of P clicks at once; tensors in, tensors on this device out.

        points: [M, P, 3] in the network's cube; labels: [M, P]; previous: logits [M, N] of the last round
        sizes: [M], about which share of the surface each part takes, 0 where unknown
        returns: logits at the shape's points float32 [M, C, N], predicted IoUs [M, C]
        """
        return self._predict_at(shape, shape.point_locations, points, labels, previous, sizes)

    @torch.inference_mode()
    def face_logits_batch(
        self, shape: EncodedShape, points: Tensor, labels: Tensor, previous: Tensor | None = None
    ) -> Tensor:
        """The masks of `predict_batch` at the faces of the shape's mesh, float32 [M, C, F].

        Raises PromptError for point clouds.
        """
        if shape.sites.of_face is None:
            raise PromptError("a point cloud has no faces; use predict_batch")
        logits, _ = self._predict_at(shape, shape.site_locations, points, labels, previous)
        return shape.at_faces(logits)

    def _predict_at(
        self,
        shape: EncodedShape,
        locations: Locations,
        points: Tensor,
        labels: Tensor,
        previous: Tensor | None,
        sizes: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        masks = _offered(points)
        decoder = PromptDecoder(self._on_device, shape)
        logits, scores = [], []
        step = decoder.prompts_at_once(len(points))
        for start in range(0, len(points), step):
            chunk = slice(start, start + step)
            prior = _rows(previous, chunk)
            clicks, signs = points[chunk].to(self.device).float(), labels[chunk].to(self.device).long()
            decoding = decoder.decode(clicks, signs, prior, _rows(sizes, chunk))
            logits.append(decoder.estimated_logits(decoding, locations, masks))
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
        prompt_batch: int | None = None,
        settings: EveryPartSettings | None = None,
        strict_paper: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Parts:
        """Find all parts by prompting everywhere.

        prompts: clicks, spread by farthest point sampling; prompt_batch: of them decoded at once,
            as many as usual if None
        strict_paper: the published procedure with its fixed threshold (one granularity only)
        progress: called with a stage name and a share of it; cancel: asked often, raises Cancelled
        """
        if prompts < 1:
            raise PromptError(f"finding parts takes at least one prompt, got {prompts}")
        report = progress or (lambda stage, share: None)
        batch = prompt_batch or self.prompt_batch
        chosen = farthest_point_sampling(shape.points, min(prompts, len(shape.points)), device=self.device)
        clicks = self._tensor(shape.points[chosen])
        decoder = PromptDecoder(self._on_device, shape)
        if strict_paper:
            return find_parts_as_published(decoder, clicks, prompt_batch=batch, report=report, cancel=cancel)
        return find_parts(
            decoder,
            clicks,
            prompt_batch=batch,
            settings=settings or EveryPartSettings(),
            report=report,
            cancel=cancel,
        )

    def _tensor(self, array: FloatArray | IntArray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array, dtype=np.float32), device=self.device)


def _checked_clicks(points: FloatArray) -> FloatArray:
    clicks = np.atleast_2d(np.asarray(points, dtype=np.float64))
    if clicks.ndim != 2 or clicks.shape[1] != 3 or not len(clicks):
        raise PromptError(f"clicks must be rows of 3 coordinates, at least one, got {list(clicks.shape)}")
    if not np.isfinite(clicks).all():
        raise PromptError("clicks must be finite points")
    return clicks


def _offered(points: Tensor) -> slice:
    """The mask tokens that answer prompts [M, P, 3]: three readings of a single click, else one."""
    return slice(1, 4) if points.shape[1] == 1 else slice(0, 1)


def _rows(values: Tensor | None, rows: slice) -> Tensor | None:
    return None if values is None else values[rows]


def _check_points(points: FloatArray, normals: FloatArray, colors: FloatArray) -> None:
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < 4:
        raise MeshError(f"at least 4 points of 3 coordinates are needed, got {list(points.shape)}")
    if not np.isfinite(points).all():
        raise MeshError("some points are not finite (NaN or infinite)")
    for name, rows in (("normals", normals), ("colors", colors)):
        if np.shape(rows) != points.shape:
            raise MeshError(
                f"{name} must be {list(points.shape)} like the points, got {list(np.shape(rows))}"
            )


def _faces_of_points(
    mesh: Mesh, points: FloatArray, normals: FloatArray, point_faces: IntArray | None
) -> IntArray:
    """The face of each point: as given, else the one whose centroid is nearest and faces the same way."""
    if point_faces is None:
        side = float(np.ptp(points, axis=0).max())
        return nearest_faced(face_centroids(mesh), face_normals(mesh), points, np.nan_to_num(normals), side)
    faces = np.asarray(point_faces)
    if faces.shape != (len(points),) or faces.min() < 0 or faces.max() >= mesh.face_count:
        raise MeshError(
            f"point_faces must name one of {mesh.face_count} faces for each of {len(points)} points"
        )
    return faces
