# SPDX-License-Identifier: GPL-3.0-or-later
"""A network on a device, and what it computes for a shape as plain values."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .answers import ClickAnswers, MaskPrediction
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
    NetworkConfig,
    PartSAM,
    farthest_point_sampling,
    load_network,
    untrained_network,
)
from .network.mask_decoder import Attention
from .segmentation import EncodedShape, EveryPartSettings, Parts, PromptDecoder
from .segmentation.close_up import Ball, CloseUp
from .segmentation.every_part import Cancel, Progress, find_parts, find_parts_as_published
from .segmentation.point_normals import estimate_normals
from .segmentation.poses import TURNS, find_parts_in_poses
from .segmentation.together import JointPrediction
from .upright import upright_on

__all__ = ["CloseUp", "EncodedShape", "JointPrediction", "MaskPrediction", "Segmenter", "available_models"]

MODELS_FOLDER = Path(__file__).parent / "models"
UNTRAINED = "-untrained"
MAX_POSES = len(TURNS)

_WARM_UPS = 3
"""The first sets libraries up, the second is recorded, the third replayed."""

_WARM_UP_SIDE = 160
"""Of a grid of squares: its faces are more than there are sites, so that their sites are searched, too."""


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
        self._upright = upright_on(device) if network.config.upright else None
        self.network, self.device = self._on_device.network, device
        self.model_name = name or network.config.name
        self.is_trained = trained

    def plain(self) -> Segmenter:
        """The same network without what makes it fast: float32, the textbook's attention, every mask
        evaluated everywhere. What the fast one is to be compared with."""
        other = Segmenter(
            copy.deepcopy(self.network).float(),
            device=self.device,
            name=self.model_name,
            trained=self.is_trained,
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
        mesh = _hilly_sheet()
        for _ in range(times):
            shape = self.encode(mesh)
            points = shape.world_points
            first = self.predict(shape, points[:1], np.array([1]))
            self.predict(shape, points[:2], np.array([1, 0]), previous=first)
        with torch.inference_mode():
            clicks = self._tensor(shape.points[: self.prompt_batch, None])
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
            segmenter = cls(network, device=device, name=name, trained=False)
            segmenter._on_device.round_weights()
            return segmenter
        path = MODELS_FOLDER / f"{name}.safetensors"
        if not path.is_file():
            path = Path(model)
        if not path.is_file():
            raise CheckpointError(
                f"no model {name!r}: it is neither one of {', '.join(available_models())} nor a file"
            )
        loaded = load_network(path, device=device)
        segmenter = cls(loaded.network, device=device, name=path.stem)
        segmenter._on_device.round_weights()
        return segmenter

    def encode(self, mesh: Mesh, *, seed: int = 0, points: int | None = None) -> EncodedShape:
        """Sample and encode a mesh; the same for the same seed. Raises MeshError for unusable meshes.

        points: how many to sample, as many as the network was trained with if None
        """
        count = points or self.config.points
        surface = self._encoder.surface(mesh)
        if surface is not None:
            drawn = surface.sample(count, seed=seed)
            return self._encoder.whole(
                drawn.points,
                drawn.normals,
                drawn.colors,
                mesh=mesh,
                point_faces=drawn.faces,
                surface=surface,
            )
        sample = sample_surface(mesh, count, seed=seed)
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
        surface = None
        if mesh is not None:
            surface = self._encoder.surface(mesh)
            if surface is None:
                validate_mesh(mesh)
            point_faces = _faces_of_points(mesh, points, normals, point_faces)
        return self._encoder.whole(
            points,
            np.nan_to_num(normals),
            np.nan_to_num(colors),
            mesh=mesh,
            point_faces=point_faces,
            surface=surface,
        )

    def where_to_look(
        self,
        shape: EncodedShape,
        points: FloatArray,
        labels: IntArray,
        *,
        answer: MaskPrediction | None = None,
        size: float | None = None,
    ) -> Ball | None:
        """The surroundings of a small part, for `close_up`; clicks as for `predict`, and its answer to them.

        With one click a part is small whose size is said to be below 2 %, with several one for which the mask
        answered covers less than 5 %. None for larger parts, clicks far apart, point clouds, and where all
        faces are too large for that.
        """
        return self._answers.where_to_look(shape, points, labels, answer=answer, size=size)

    def close_up(self, shape: EncodedShape, ball: Ball, *, seed: int = 0) -> CloseUp:
        """Encode what lies in a ball (`where_to_look`) anew, with all points. Costs as much as `encode`."""
        return self._encoder.close_up(shape, ball, seed=seed)

    def look_closer(
        self,
        shape: EncodedShape,
        zoom: CloseUp,
        answer: MaskPrediction,
        points: FloatArray,
        labels: IntArray,
        *,
        previous: MaskPrediction | None = None,
        size: float | None = None,
    ) -> MaskPrediction:
        """A better answer to clicks than that of `predict` for the same arguments, by a close-up around them.

        To one click the one with the higher predicted IoU counts, to several that of the close-up, and beyond
        its ball the one before: without face logits where that has none.
        """
        return self._answers.look_closer(shape, zoom, answer, points, labels, previous=previous, size=size)

    @property
    def _encoder(self) -> ShapeEncoder:
        return ShapeEncoder(self._on_device, self._upright)

    @property
    def _answers(self) -> ClickAnswers:
        return ClickAnswers(self._on_device)

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
        zoom: a `close_up` around the clicks inside; the answer is then that of `look_closer`
        """
        return self._answers.predict(shape, points, labels, previous=previous, size=size, zoom=zoom)

    def predict_parts(self, shape: EncodedShape, clicks: Sequence[FloatArray]) -> JointPrediction:
        """Several parts at once: each one's clicks are positive for it and negative for its neighbours.

        clicks: for each part an array [P, 3] in the caller's units, at least one click each
        Raises PromptError.
        """
        return self._answers.predict_parts(shape, clicks)

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
        return self._answers.batch(shape, shape.point_locations, points, labels, previous, sizes)

    @torch.inference_mode()
    def face_logits_batch(
        self, shape: EncodedShape, points: Tensor, labels: Tensor, previous: Tensor | None = None
    ) -> Tensor:
        """The masks of `predict_batch` at the faces of the shape's mesh, float32 [M, C, F].

        Raises PromptError for point clouds.
        """
        if shape.sites.of_face is None:
            raise PromptError("a point cloud has no faces; use predict_batch")
        logits, _ = self._answers.batch(shape, shape.site_locations, points, labels, previous)
        return shape.at_faces(logits)

    def turned(self, shape: EncodedShape, turn: FloatArray) -> EncodedShape:
        """The same points and sites, seen by the network turned (or mirrored) from the caller's axes by a
        signed permutation [3, 3]: as `Normalization.turn` of the result says. Costs as much as `encode` where
        it is not seen so already."""
        if np.array_equal(turn, shape.normalization.turn):
            return shape
        return self._encoder.turned(shape, turn @ shape.normalization.turn.T)

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
        poses: int = 1,
        prompt_batch: int | None = None,
        settings: EveryPartSettings | None = None,
        strict_paper: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Parts:
        """Find all parts by prompting everywhere.

        prompts: clicks, spread by farthest point sampling; prompt_batch: of them decoded at once,
            as many as usual if None
        poses: in how many poses the network sees the shape, turned and mirrored, half of the clicks in each:
            steadier, and slower; at most `MAX_POSES`, and without effect on `strict_paper`
        strict_paper: the published procedure with its fixed threshold (one granularity only)
        progress: called with a stage name and a share of it; cancel: asked often, raises Cancelled
        """
        if prompts < 1:
            raise PromptError(f"finding parts takes at least one prompt, got {prompts}")
        if not 1 <= poses <= MAX_POSES:
            raise PromptError(f"the number of poses must be 1 to {MAX_POSES}, got {poses}")
        report = progress or (lambda stage, share: None)
        batch = prompt_batch or self.prompt_batch
        chosen = farthest_point_sampling(shape.points, min(prompts, len(shape.points)), device=self.device)
        clicks = self._tensor(shape.points[chosen])
        decoder = PromptDecoder(self._on_device, shape)
        if strict_paper:
            return find_parts_as_published(decoder, clicks, prompt_batch=batch, report=report, cancel=cancel)
        find: Callable[..., Parts] = partial(find_parts, decoder, clicks)
        if poses > 1 and len(chosen) > 1:
            find = partial(find_parts_in_poses, decoder, partial(self._turned, decoder), chosen, poses)
        return find(
            prompt_batch=batch, settings=settings or EveryPartSettings(), report=report, cancel=cancel
        )

    def _turned(self, decoder: PromptDecoder, turn: FloatArray) -> PromptDecoder:
        """The decoder of the same shape, seen turned or mirrored by a further signed permutation [3, 3]."""
        if np.array_equal(turn, np.eye(3)):
            return decoder
        return PromptDecoder(self._on_device, self._encoder.turned(decoder.shape, turn))

    def _tensor(self, array: FloatArray | IntArray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array, dtype=np.float32), device=self.device)


def _hilly_sheet() -> Mesh:
    corner = np.arange((_WARM_UP_SIDE + 1) ** 2).reshape(_WARM_UP_SIDE + 1, -1)
    x, y = (places / _WARM_UP_SIDE for places in np.divmod(corner.ravel(), _WARM_UP_SIDE + 1))
    left, right = corner[:-1], corner[1:]
    halves = (left[:, :-1], right[:, :-1], right[:, 1:]), (left[:, :-1], right[:, 1:], left[:, 1:])
    triangles = np.concatenate([np.stack(half, axis=-1).reshape(-1, 3) for half in halves])
    return Mesh(np.stack([x, y, np.sin(9 * x) * np.sin(7 * y)], axis=1), triangles)


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
