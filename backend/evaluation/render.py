# SPDX-License-Identifier: GPL-3.0-or-later
"""A small z-buffer renderer for coloured meshes, and colours that tell parts apart. numpy and scipy only."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment

from ..geometry import Mesh, face_normals
from ..geometry.mesh import FloatArray, IntArray
from ..metrics import part_ious

BACKGROUND = np.array([0.985, 0.985, 0.98])
NO_PART = np.array([0.62, 0.62, 0.62])
SUPERSAMPLING = 3
_LIGHT = np.array([-0.45, 0.75, 0.6]) / np.linalg.norm([-0.45, 0.75, 0.6])
_FRAGMENTS_PER_CHUNK = 4_000_000


def part_color(index: int) -> FloatArray:
    """Colour of part `index`, RGB in [0, 1]: golden-ratio hues on three levels of lightness in OKLCH."""
    lightness, chroma = ((0.72, 0.15), (0.84, 0.11), (0.58, 0.14))[index % 3]
    hue = 2 * np.pi * ((0.07 + index * 0.6180339887) % 1)
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    cone = np.array(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    to_linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(to_linear @ cone**3, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def matched_labels(true: IntArray, predicted: IntArray, weights: FloatArray) -> IntArray:
    """`predicted` renamed so that each part gets the name of the true part that it matches best.

    true, predicted: int [F] with -1 for no part; one-to-one matching of the largest total IoU. Parts without
    a match get names that no true part has.
    """
    true_names, predicted_names = np.unique(true[true >= 0]), np.unique(predicted[predicted >= 0])
    ious = part_ious(true, predicted, weights)
    new = np.full(len(predicted_names), -1)
    for row, column in zip(*linear_sum_assignment(-ious), strict=True):
        if ious[row, column] > 0:
            new[column] = true_names[row]
    unmatched = new < 0
    first_free = int(true_names.max(initial=-1)) + 1
    new[unmatched] = first_free + np.arange(unmatched.sum())
    renamed = np.full(len(predicted), -1)
    part = predicted >= 0
    renamed[part] = new[np.searchsorted(predicted_names, predicted[part])]
    return renamed


def render_labels(mesh: Mesh, labels: IntArray, *, size: int, up: str = "y") -> np.ndarray:
    """Picture of `mesh` with one colour per label, uint8 [size, size, 3]; -1 is grey.

    Orthographic view from the front right above; shaded by face normal, with outlines between parts and
    darkening behind depth steps. up: the axis (`y` or `z`) that points up.
    """
    side = size * SUPERSAMPLING
    corners, rotation = _project(mesh, side, up)
    face, depth = _rasterise(corners, side)
    hit = face >= 0
    names, rows = np.unique(labels, return_inverse=True)
    colors = np.stack([NO_PART if name < 0 else part_color(int(name)) for name in names])
    picture = np.broadcast_to(BACKGROUND, (side, side, 3)).copy()
    shade = _shade(face_normals(mesh) @ rotation.T)
    picture[hit] = colors[rows[face[hit]]] * shade[face[hit], None]
    picture *= _depth_darkening(depth, hit, side)[:, :, None]
    picture *= _outline(np.where(hit, rows[face], -1))[:, :, None]
    small = picture.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean(axis=(1, 3))
    return np.clip(np.rint(small * 255), 0, 255).astype(np.uint8)


def _project(mesh: Mesh, side: int, up: str) -> tuple[FloatArray, FloatArray]:
    """Corners in pixels and depth (smaller is nearer), float64 [F, 3, 3], and the rotation into view axes."""
    turn, tilt = np.radians(35), np.radians(24)
    to_y_up = np.eye(3) if up == "y" else np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    about_up = np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]])
    about_right = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    rotation = about_right @ about_up @ to_y_up
    seen = mesh.corners() @ rotation.T
    low, high = seen.min(axis=(0, 1)), seen.max(axis=(0, 1))
    scale = 0.92 * side / max(float((high - low)[:2].max()), 1e-12)
    seen = (seen - (low + high) / 2) * scale
    return np.stack([seen[..., 0] + side / 2, side / 2 - seen[..., 1], -seen[..., 2]], axis=-1), rotation


def _rasterise(corners: FloatArray, side: int) -> tuple[IntArray, FloatArray]:
    """Nearest face (int64, -1 none) and its depth (float64, inf none) of each pixel, [side, side] each."""
    face = np.full(side * side, -1, dtype=np.int64)
    depth = np.full(side * side, np.inf)
    spans = _spans(corners, side)
    ends = np.cumsum(spans["count"])
    start = 0
    while start < len(ends):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _FRAGMENTS_PER_CHUNK)))
        pixel, owner, z = _fragments({key: value[start:stop] for key, value in spans.items()}, corners, side)
        nearer = z < depth[pixel]
        pixel, owner, z = pixel[nearer], owner[nearer], z[nearer]
        order = np.argsort(-z, kind="stable")  # of several writes to one pixel the last, nearest one stays
        depth[pixel[order]] = z[order]
        face[pixel[order]] = owner[order]
        start = stop
    return face.reshape(side, side), depth.reshape(side, side)


def _spans(corners: FloatArray, side: int) -> dict[str, np.ndarray]:
    """One entry per face and pixel row that it crosses: face, row, first pixel, count of pixels."""
    y = corners[:, :, 1]
    top = np.clip(np.ceil(y.min(axis=1) - 0.5), 0, side).astype(np.int64)
    bottom = np.clip(np.floor(y.max(axis=1) - 0.5), -1, side - 1).astype(np.int64)
    rows = np.maximum(bottom - top + 1, 0)
    face = np.repeat(np.arange(len(corners)), rows)
    row = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows) + top[face]
    middle = row + 0.5
    left, right = np.full(len(face), np.inf), np.full(len(face), -np.inf)
    for first, second in ((0, 1), (1, 2), (2, 0)):
        x0, y0 = corners[face, first, 0], corners[face, first, 1]
        x1, y1 = corners[face, second, 0], corners[face, second, 1]
        crosses = (np.minimum(y0, y1) <= middle) & (middle <= np.maximum(y0, y1)) & (y0 != y1)
        x = x0 + (x1 - x0) * np.divide(middle - y0, y1 - y0, out=np.zeros_like(middle), where=crosses)
        left = np.where(crosses, np.minimum(left, x), left)
        right = np.where(crosses, np.maximum(right, x), right)
    begin = np.clip(np.ceil(left - 0.5), 0, side)
    count = np.maximum(np.clip(np.floor(right - 0.5), -1, side - 1) - begin + 1, 0).astype(np.int64)
    keep = count > 0
    return {"face": face[keep], "row": row[keep], "begin": begin[keep].astype(np.int64), "count": count[keep]}


def _fragments(
    spans: dict[str, np.ndarray], corners: FloatArray, side: int
) -> tuple[IntArray, IntArray, FloatArray]:
    """Pixel, face and depth of every pixel of `spans`."""
    count = spans["count"]
    column = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    column += np.repeat(spans["begin"], count)
    face, row = np.repeat(spans["face"], count), np.repeat(spans["row"], count)
    origin = corners[:, 0]
    first, second = corners[:, 1] - origin, corners[:, 2] - origin
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    safe = np.where(area == 0, 1.0, area)
    by_x = np.where(area == 0, 0, (first[:, 2] * second[:, 1] - second[:, 2] * first[:, 1]) / safe)
    by_y = np.where(area == 0, 0, (second[:, 2] * first[:, 0] - first[:, 2] * second[:, 0]) / safe)
    z = (
        origin[face, 2]
        + by_x[face] * (column + 0.5 - origin[face, 0])
        + by_y[face] * (row + 0.5 - origin[face, 1])
    )
    z = np.clip(z, corners[:, :, 2].min(axis=1)[face], corners[:, :, 2].max(axis=1)[face])
    return row * side + column, face, z


def _shade(normals: FloatArray) -> FloatArray:
    """Brightness per face for normals [F, 3] in view axes, two-sided."""
    facing = normals * np.where(normals[:, 2:] < 0, -1.0, 1.0)
    return 0.50 + 0.42 * np.clip(facing @ _LIGHT, 0, 1) + 0.13 * facing[:, 2] ** 2


def _depth_darkening(depth: FloatArray, hit: np.ndarray, side: int) -> FloatArray:
    """Factor per pixel, float64 [side, side]: darker where the surroundings are nearer to the viewer."""
    if not hit.any():
        return np.ones_like(depth)
    far = float(depth[hit].max())
    filled = np.where(hit, depth, far)
    behind = (filled - gaussian_filter(filled, side / 45)) / side
    return np.where(hit, 1 - np.clip(5.0 * behind, 0, 0.38), 1.0)


def _outline(label: IntArray) -> FloatArray:
    """Factor per pixel, float64: dark where the label (or the silhouette) changes to the next pixel."""
    change = np.zeros(label.shape, dtype=bool)
    for axis in (0, 1):
        differs = np.diff(label, axis=axis) != 0
        change |= np.pad(differs, [(0, 1) if a == axis else (0, 0) for a in (0, 1)])
        change |= np.pad(differs, [(1, 0) if a == axis else (0, 0) for a in (0, 1)])
    return np.where(change, 0.42, 1.0)
