# SPDX-License-Identifier: GPL-3.0-or-later
"""What a network answers to clicks on an encoded shape: masks for one set, for several parts, for batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .errors import PromptError
from .geometry.mesh import FloatArray, IntArray
from .network import Decoding, DeviceNetwork, Locations
from .segmentation import EncodedShape, PromptDecoder
from .segmentation.clicked_sites import clicked_sites
from .segmentation.close_up import Ball, CloseUp, ball_around, ball_around_mask
from .segmentation.together import JointPrediction, joint_prompts


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


@dataclass(frozen=True)
class ClickAnswers:
    """A network on a device that answers clicks; `Segmenter` says what its methods take and return."""

    on_device: DeviceNetwork

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
        """`Segmenter.predict`."""
        clicks, signs = _checked(points, labels)
        if previous is not None and previous.point_logits.shape[1] != len(shape.points):
            raise PromptError("the previous prediction belongs to another shape; leave it out")
        if size is not None and not 0 < size <= 1:
            raise PromptError(f"size is a share of the surface, above 0 and at most 1, not {size}")
        cube = shape.normalization.apply(clicks).clip(-1, 1)[None]
        prior = None if previous is None else torch.as_tensor(previous.point_logits[previous.best][None])
        sizes = None if size is None else torch.tensor([size])
        at_points, at_faces, scores = self._arrays(shape, cube, signs[None], prior, sizes)
        faces = None if at_faces is None else at_faces[0]
        answer = MaskPrediction(at_points[0], faces, scores[0], self._meant(at_points[0], scores[0], size))
        if zoom is None:
            return answer
        return self.look_closer(shape, zoom, answer, clicks, signs, previous=previous, size=size)

    def where_to_look(
        self,
        shape: EncodedShape,
        points: FloatArray,
        labels: IntArray,
        *,
        answer: MaskPrediction | None = None,
        size: float | None = None,
    ) -> Ball | None:
        """`Segmenter.where_to_look`."""
        clicks, signs = _checked(points, labels)
        inside = clicks[signs == 1]
        if len(clicks) == 1:
            return None if size is None else ball_around(shape, inside, size)
        return (
            None if answer is None else ball_around_mask(shape, inside, answer.point_logits[answer.best] > 0)
        )

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
        """`Segmenter.look_closer`."""
        clicks, signs = _checked(points, labels)
        if len(clicks) > 1:
            return self._predict_closely(shape, zoom, clicks, signs, previous, size, beyond=answer)
        closer = self._predict_closely(shape, zoom, clicks, signs, previous, size, beyond=None)
        return closer if closer.scores[closer.best] >= answer.scores[answer.best] else answer

    def predict_parts(self, shape: EncodedShape, clicks: Sequence[FloatArray]) -> JointPrediction:
        """`Segmenter.predict_parts`."""
        if len(clicks) == 0:
            raise PromptError("asking for parts takes the clicks of at least one")
        cubes = [shape.normalization.apply(checked_clicks(points)).clip(-1, 1) for points in clicks]
        points, labels = joint_prompts(cubes)
        at_points, at_faces, scores = self._arrays(shape, points, labels, None, None)
        best = scores.argmax(axis=1)  # a single click has three readings
        rows = np.arange(len(best))
        return JointPrediction(
            at_points[rows, best],
            None if at_faces is None else at_faces[rows, best],
            scores[rows, best],
            clicks=float(np.mean([len(own) for own in clicks])),
        )

    @torch.inference_mode()
    def batch(
        self,
        shape: EncodedShape,
        locations: Locations,
        points: Tensor,
        labels: Tensor,
        previous: Tensor | None,
        sizes: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits float32 [M, C, K] at locations of a shape, scores [M, C]; see `Segmenter.predict_batch`."""
        masks = _offered(points)
        decoder = PromptDecoder(self.on_device, shape)
        logits, scores = [], []
        for decoding in _decodings(decoder, points, labels, previous, sizes):
            logits.append(decoder.estimated_logits(decoding, locations, masks))
            scores.append(decoding.iou[0, :, masks].float())
        return torch.cat(logits), torch.cat(scores)

    @torch.inference_mode()
    def _arrays(
        self,
        shape: EncodedShape,
        places: FloatArray,
        labels: IntArray,
        previous: Tensor | None,
        sizes: Tensor | None,
    ) -> tuple[FloatArray, FloatArray | None, FloatArray]:
        """Logits at points [M, C, N] and at faces [M, C, F] (None for point clouds), and scores [M, C], for
        places [M, P, 3] in the network's cube that a user clicked at."""
        points = self._tensor(places)
        masks = _offered(points)
        decoder = PromptDecoder(self.on_device, shape)
        regions = _clicked_regions(shape, shape.normalization.invert(places))
        at_points, at_faces, scores = [], [], []
        for decoding in _decodings(decoder, points, self._tensor(labels).long(), previous, sizes, regions):
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

    def _meant(self, at_points: FloatArray, scores: FloatArray, size: float | None) -> int:
        """Which of the masks [C, N] with predicted IoUs [C] is meant, if the part is of that size."""
        if size is None or self.on_device.network.config.size_prompt:
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
        *,
        beyond: MaskPrediction | None,
    ) -> MaskPrediction:
        """beyond: what counts outside of the ball; None: nothing there is in the mask"""
        seen = (signs == 1) | zoom.ball.reaches(clicks)  # what is excluded elsewhere says nothing of the ball
        crop = zoom.encoded
        cube = self._tensor(crop.normalization.apply(clicks[seen]).clip(-1, 1))[None]
        regions = None if crop.regions is None else _clicked_regions(shape, clicks[seen][None])
        prior = None
        if previous is not None:
            prior = torch.as_tensor(zoom.own_logits(previous.point_logits[[previous.best]]))
        sizes = None if size is None else torch.tensor([min(size / zoom.ball.share, 1.0)])
        masks = _offered(cube)
        decoder = PromptDecoder(self.on_device, crop)
        decoding = decoder.decode(cube, self._tensor(signs[seen])[None].long(), prior, sizes, regions)
        scores = decoding.iou[0, 0, masks].float().cpu().numpy()
        # Several clicks have one mask, also where only one of them is seen: the best of its three readings.
        best = int(scores.argmax())
        rows = slice(None) if beyond is None else slice(best, best + 1)
        scores = scores[rows]
        at_points = decoder.estimated_logits(decoding, crop.point_locations, masks)[0, rows].cpu().numpy()
        point_logits = zoom.on_points(at_points, shape, None if beyond is None else beyond.point_logits)
        face_logits = None
        if beyond is None or beyond.face_logits is not None:
            at_sites = decoder.estimated_logits(decoding, crop.site_locations, masks)[0, rows].cpu().numpy()
            face_logits = zoom.on_faces(at_sites, shape, None if beyond is None else beyond.face_logits)
        return MaskPrediction(point_logits, face_logits, scores, self._meant(point_logits, scores, size))

    def _tensor(self, array: FloatArray | IntArray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array, dtype=np.float32), device=self.on_device.device)


def _decodings(
    decoder: PromptDecoder,
    points: Tensor,
    labels: Tensor,
    previous: Tensor | None,
    sizes: Tensor | None,
    regions: Tensor | None = None,
) -> Iterator[Decoding]:
    """The prompts [M, P, 3] decoded, as many at once as there is memory for."""
    step = decoder.prompts_at_once(len(points))
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        clicks, signs = points[rows].to(decoder.device).float(), labels[rows].to(decoder.device).long()
        own = None if regions is None else regions[:, rows]
        yield decoder.decode(clicks, signs, _rows(previous, rows), _rows(sizes, rows), own)


def _clicked_regions(shape: EncodedShape, places: FloatArray) -> Tensor | None:
    """Atoms int64 [1, M, P] of the faces at places [M, P, 3] in the caller's units; None where no regions are
    known."""
    if shape.regions is None:
        return None
    sites = clicked_sites(shape, places)
    atoms = shape.regions.of_sites
    return atoms[:, torch.as_tensor(sites, device=atoms.device)]


def checked_clicks(points: FloatArray) -> FloatArray:
    """Clicks as float64 [P, 3]; PromptError where they are not finite points."""
    clicks = np.atleast_2d(np.asarray(points, dtype=np.float64))
    if clicks.ndim != 2 or clicks.shape[1] != 3 or not len(clicks):
        raise PromptError(f"clicks must be rows of 3 coordinates, at least one, got {list(clicks.shape)}")
    if not np.isfinite(clicks).all():
        raise PromptError("clicks must be finite points")
    return clicks


def _checked(points: FloatArray, labels: IntArray) -> tuple[FloatArray, IntArray]:
    """Clicks float64 [P, 3] and their labels [P]; PromptError where they do not go together."""
    clicks, signs = checked_clicks(points), np.asarray(labels).reshape(-1)
    if len(clicks) != len(signs):
        raise PromptError(f"{len(clicks)} clicks with {len(signs)} labels; give one for each")
    if not np.isin(signs, (0, 1)).all():
        raise PromptError("labels must be 0 or 1")
    return clicks, signs


def _offered(points: Tensor) -> slice:
    """The mask tokens that answer prompts [M, P, 3]: three readings of a single click, else one."""
    return slice(1, 4) if points.shape[1] == 1 else slice(0, 1)


def _rows(values: Tensor | None, rows: slice) -> Tensor | None:
    return None if values is None else values[rows]
