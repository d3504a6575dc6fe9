# SPDX-License-Identifier: GPL-3.0-or-later
"""Procedural shapes whose parts are known by construction.

Every solid is a loft: a superellipse cross-section with a radius profile, swept along a straight or
bent spine. That covers boxes, prisms, cylinders, cones, spheres, barrels, tori and tubes. Solids are
assembled by five plans: trees of limbs, stacks, furniture, shells with parts inside, and single lofts
that are cut into parts. Unions are left overlapping: what lies inside of another part disappears when
only the points visible from outside are kept (the *fused* share of a batch), so no mesh booleans are
needed and the parts stay exact.

Two labelings per shape: `part`, every solid by itself, and `group`, repeated solids together. The same
seed gives the same shapes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..geometry import Mesh
from ..labelled_meshes.shards import UNLABELLED, LabelledShape, ShapeSet

REPOSITORY = "procedural"
MAX_SOLIDS = 50

Floats = NDArray[np.float64]
Random = np.random.Generator


@dataclass(frozen=True)
class Solid:
    """One part. vertices: float64 [V, 3]; faces: int64 [F, 3], outward; group: solids that look alike."""

    vertices: Floats
    faces: NDArray[np.int64]
    group: int

    def moved(self, matrix: Floats, offset: Floats) -> Solid:
        """The solid under x -> matrix x + offset; a mirror keeps its faces outward."""
        faces = self.faces if np.linalg.det(matrix) > 0 else self.faces[:, ::-1]
        return replace(self, vertices=self.vertices @ matrix.T + offset, faces=faces)


def procedural_shapes(count: int, *, seed: int = 0) -> ShapeSet:
    """`count` shapes of 3 to 50 parts, the same for the same seed."""
    plans: tuple[Callable[[Random], list[Solid]], ...] = (
        _limbs,
        _limbs,
        _stack,
        _furniture,
        _shell,
        _cut_loft,
    )
    shapes = []
    for index in range(count):
        random = np.random.default_rng([seed, index])
        plan = plans[int(random.integers(len(plans)))]
        shapes.append(_labelled(plan(random)[:MAX_SOLIDS], random, f"{plan.__name__[1:]}/{seed}/{index}"))
    return ShapeSet.from_shapes(shapes)


def loft(rings: Floats, *, closed: bool) -> tuple[Floats, NDArray[np.int64]]:
    """Skin rings [R, K, 3] (counter-clockwise about the direction of travel) to a solid.

    closed: join the last ring to the first (a torus); else both ends get a cap around their centre.
    """
    count, sides = rings.shape[:2]
    ring, side = np.meshgrid(np.arange(count if closed else count - 1), np.arange(sides), indexing="ij")
    here, there = ring * sides, (ring + 1) % count * sides
    a, b = here + side, here + (side + 1) % sides
    c, d = there + (side + 1) % sides, there + side
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    vertices = rings.reshape(-1, 3)
    if closed:
        return vertices, faces
    around = np.arange(sides)
    bottom = np.stack([(around + 1) % sides, around, np.full(sides, len(vertices))], axis=1)
    last = (count - 1) * sides
    top = np.stack([last + around, last + (around + 1) % sides, np.full(sides, len(vertices) + 1)], axis=1)
    vertices = np.concatenate([vertices, rings[:1].mean(axis=1), rings[-1:].mean(axis=1)])
    return vertices, np.concatenate([faces, bottom, top])


def random_solid(random: Random, *, group: int, slender: float = 1.0) -> Solid:
    """A loft along +z from z = 0 to about 1, about 1 / slender wide."""
    if random.random() < 0.08:
        return _torus(random, group)
    rings = _loft_rings(random, 0.5 / slender)
    return Solid(*loft(rings, closed=False), group)


def _loft_rings(random: Random, radius: float, *, steps: int | None = None) -> Floats:
    """Rings [R, K, 3] of a random sweep along +z of length 1."""
    sides = int(random.choice([4, 4, 4, 6, 8, 12, 16, 24]))
    profile = int(random.integers(6))
    bend = random.uniform(-1.2, 1.2) if random.random() < 0.25 else 0.0
    straight = profile < 2 and bend == 0 and steps is None
    t = np.linspace(0, 1, 2 if straight else steps or int(random.integers(6, 14)))
    widths = _profile(profile, t, random) * radius
    section = _section(sides, random)
    twist = random.uniform(0, 1.5) * t if random.random() < 0.1 else np.zeros_like(t)
    cos, sin = np.cos(twist)[:, None], np.sin(twist)[:, None]
    x = (section[:, 0] * cos - section[:, 1] * sin) * widths[:, None]
    y = (section[:, 0] * sin + section[:, 1] * cos) * widths[:, None]
    if bend == 0:
        return np.stack([x, y, np.broadcast_to(t[:, None], x.shape)], axis=2)
    # The spine is an arc of length 1 in the xz plane; rings stay perpendicular to it.
    angle, reach = bend * t, 1 / bend
    spine_x, spine_z = reach * (1 - np.cos(angle)), reach * np.sin(angle)
    return np.stack(
        [spine_x[:, None] + x * np.cos(angle)[:, None], y, spine_z[:, None] - x * np.sin(angle)[:, None]],
        axis=2,
    )


def _profile(kind: int, t: Floats, random: Random) -> Floats:
    """Relative radius along the sweep, float64 [R]."""
    if kind == 0:
        return np.ones_like(t)
    if kind == 1:
        return np.interp(t, [0, 1], [1, random.uniform(0.05, 0.9)])
    if kind == 2:  # ellipsoid
        return np.sqrt(np.clip(1 - (2 * t - 1) ** 2, 0.002, 1))
    if kind == 3:  # barrel or hourglass
        return 1 + random.uniform(-0.5, 0.4) * np.sin(np.pi * t)
    if kind == 4:  # capsule
        return np.sqrt(np.clip(1 - np.clip(np.abs(2 * t - 1) * 2 - 1, 0, 1) ** 2, 0.002, 1))
    knots = np.sort(random.random(4))
    return np.interp(t, knots, random.uniform(0.3, 1, 4))


def _section(sides: int, random: Random) -> Floats:
    """A superellipse with half axes up to 1, counter-clockwise, float64 [K, 2]."""
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    power = 1.0 if sides < 12 else float(random.choice([1.0, 1.0, 0.4, 1.5]))
    cos, sin = np.cos(angle), np.sin(angle)
    section = np.stack([np.sign(cos) * np.abs(cos) ** power, np.sign(sin) * np.abs(sin) ** power], axis=1)
    return section / np.abs(section).max(axis=0) * [1, random.uniform(0.3, 1) if random.random() < 0.5 else 1]


def _torus(random: Random, group: int) -> Solid:
    """A torus around the z axis, standing on z = 0."""
    thin = random.uniform(0.08, 0.25)
    around = 2 * np.pi * np.arange(24) / 24
    section = _section(8, random) * thin
    distance = 0.5 - thin + section[:, 0]
    rings = np.stack(
        [
            np.cos(around)[:, None] * distance,
            np.sin(around)[:, None] * distance,
            np.broadcast_to(thin - section[:, 1], (24, 8)),
        ],
        axis=2,
    )
    return Solid(*loft(rings, closed=True), group)


def _limbs(random: Random) -> list[Solid]:
    """A body with limbs on its surface, some of them repeated by a mirror or around the z axis."""
    solids = [_scaled(random_solid(random, group=0), random.uniform(0.5, 1.2, 3))]
    for group in range(1, int(random.integers(3, 9))):
        parent = solids[int(random.integers(len(solids)))] if random.random() < 0.4 else solids[0]
        limb = _attached(random, parent, group)
        solids += _repeated(random, limb)
    return solids


def _attached(random: Random, parent: Solid, group: int) -> Solid:
    """A solid stuck into a random face of `parent`, pointing outward more or less."""
    face = parent.vertices[parent.faces[int(random.integers(len(parent.faces)))]]
    normal = np.cross(face[1] - face[0], face[2] - face[0])
    length = np.linalg.norm(normal)
    outward = normal / length if length > 1e-12 else np.array([0.0, 0.0, 1.0])
    outward = outward + 0.4 * random.normal(size=3) * (random.random() < 0.4)
    size = float(np.ptp(parent.vertices, axis=0).max())
    limb = random_solid(random, group=group, slender=random.uniform(0.5, 4))
    scale = size * random.uniform(0.15, 0.7)
    sunk = -random.uniform(0.02, 0.3) * np.array([0.0, 0.0, 1.0])
    frame = _frame(outward, random)
    return limb.moved(np.eye(3), sunk).moved(frame * scale, random.dirichlet(np.ones(3)) @ face)


def _repeated(random: Random, solid: Solid) -> list[Solid]:
    """The solid alone, with its mirror image, or several times around the z axis."""
    draw = random.random()
    if draw < 0.4:
        return [solid]
    if draw < 0.7:
        mirror = np.diag([-1.0, 1, 1]) if random.random() < 0.5 else np.diag([1.0, -1, 1])
        return [solid, solid.moved(mirror, np.zeros(3))]
    copies = int(random.integers(3, 7))
    return [solid.moved(_about_z(2 * np.pi * k / copies), np.zeros(3)) for k in range(copies)]


def _stack(random: Random) -> list[Solid]:
    """Solids one on top of the other, with rings or knobs in between."""
    solids: list[Solid] = []
    height = 0.0
    for group in range(int(random.integers(3, 8))):
        wide, tall = random.uniform(0.3, 1), random.uniform(0.1, 0.8)
        solid = _scaled(random_solid(random, group=group), np.array([wide, wide, tall]))
        low, high = solid.vertices[:, 2].min(), solid.vertices[:, 2].max()
        solids.append(solid.moved(np.eye(3), np.array([0, 0, height - low])))
        height += (high - low) * random.uniform(0.85, 1)
        if random.random() < 0.3:
            solids += _repeated(random, _attached(random, solids[-1], 20 + group))
    return solids


def _furniture(random: Random) -> list[Solid]:
    """A slab on legs, with optional rails, back, drawers and things on top."""
    width, depth, height = random.uniform(0.6, 1.6), random.uniform(0.5, 1), random.uniform(0.4, 1)
    thick, leg = random.uniform(0.04, 0.12), random.uniform(0.04, 0.12)
    solids = [_box([width, depth, thick], [0, 0, height], 0)]
    post = Solid(*loft(_loft_rings(random, 0.5), closed=False), 1)
    for x in (-1, 1):
        for y in (-1, 1):
            place = np.array([x * (width - leg) / 2, y * (depth - leg) / 2, 0])
            solids.append(post.moved(np.diag([leg, leg, height - thick / 2]), place))
    if random.random() < 0.5:
        rail = random.uniform(0.15, 0.7) * height
        solids += [
            _box([width - leg, leg / 2, leg / 2], [0, y * (depth - leg) / 2, rail], 2) for y in (-1, 1)
        ]
    if random.random() < 0.5:
        tall = random.uniform(0.2, 0.8)
        solids.append(_box([width, thick, tall], [0, (depth - thick) / 2, height + tall / 2], 3))
    if random.random() < 0.4:
        count, gap = int(random.integers(2, 5)), 0.9
        drawer = [width / count * gap, depth * 0.8, height * 0.2]
        left = -width / 2 + width / count / 2
        solids += [_box(drawer, [left + k * width / count, 0, height * 0.85], 4) for k in range(count)]
    for group in range(5, 5 + int(random.integers(0, 4))):
        thing = _scaled(random_solid(random, group=group), random.uniform(0.1, 0.35, 3))
        place = np.array([random.uniform(-0.4, 0.4) * width, random.uniform(-0.4, 0.4) * depth, height])
        solids.append(thing.moved(np.eye(3), place))
    return solids


def _shell(random: Random) -> list[Solid]:
    """A hollow body with solids inside and outside: interior parts that only connectivity can see."""
    outer = _scaled(random_solid(random, group=0), random.uniform(0.8, 1.2, 3))
    middle = (outer.vertices.min(axis=0) + outer.vertices.max(axis=0)) / 2
    solids = [outer]
    for group in range(1, int(random.integers(3, 6))):
        inner = random_solid(random, group=group)
        size = np.ptp(outer.vertices, axis=0) * random.uniform(0.15, 0.4)
        place = middle + size * random.uniform(-0.4, 0.4, 3)
        centred = inner.moved(np.eye(3), -inner.vertices.mean(axis=0))
        solids.append(centred.moved(np.diag(size) @ _about_z(random.uniform(0, 6.3)), place))
    for group in range(10, 10 + int(random.integers(1, 4))):
        solids += _repeated(random, _attached(random, outer, group))
    return solids


def _cut_loft(random: Random) -> list[Solid]:
    """One smooth sweep cut into 3 to 6 parts where its radius steps, without any gap in between."""
    rings = _loft_rings(random, random.uniform(0.15, 0.5), steps=40)
    cuts = np.sort(random.choice(np.arange(4, 36, 2), int(random.integers(2, 6)), replace=False))
    bounds = [0, *cuts.tolist(), 39]
    step = random.random() < 0.7
    solids = []
    for group, (start, end) in enumerate(itertools.pairwise(bounds)):
        part = rings[start : end + 1]
        middle = part.mean(axis=1, keepdims=True)
        part = middle + (part - middle) * (random.uniform(0.6, 1.3) if step else 1.0)
        solids.append(Solid(*loft(part, closed=False), group))
    return solids


def _box(size: list[float], middle: list[float], group: int) -> Solid:
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
    rings = np.stack([np.column_stack([square, np.full(4, z)]) for z in (-0.5, 0.5)])
    return Solid(*loft(rings, closed=False), group).moved(np.diag(size), np.asarray(middle, dtype=float))


def _scaled(solid: Solid, scale: Floats) -> Solid:
    return solid.moved(np.diag(scale), np.zeros(3))


def _about_z(angle: float) -> Floats:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])


def _frame(direction: Floats, random: Random) -> Floats:
    """A rotation that takes +z to `direction`, with a random turn about it."""
    z = direction / np.linalg.norm(direction)
    x = np.cross(z, [1.0, 0, 0] if abs(z[0]) < 0.7 else [0, 1.0, 0])
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1) @ _about_z(random.uniform(0, 2 * np.pi))


def _labelled(solids: list[Solid], random: Random, path: str) -> LabelledShape:
    sizes = [len(s.faces) for s in solids]
    starts = np.cumsum([0] + [len(s.vertices) for s in solids[:-1]])
    palette = (
        random.random((len(solids), 3)) if random.random() < 0.7 else np.full((len(solids), 3), 192 / 255)
    )
    groups = np.unique([s.group for s in solids], return_inverse=True)[1]
    labelings = [np.repeat(np.arange(len(solids)), sizes), np.repeat(groups, sizes)]
    names = ["part", "group"]
    if groups.max() < 2:  # fewer than three groups teach little
        labelings, names = labelings[:1], names[:1]
    assert max(labeling.max() for labeling in labelings) < UNLABELLED
    mesh = Mesh(
        np.concatenate([s.vertices for s in solids]),
        np.concatenate([s.faces + start for s, start in zip(solids, starts, strict=True)]),
        np.repeat(palette[groups], sizes, axis=0),
    )
    info = {"names": names, "repo": REPOSITORY, "path": path, "licence": "CC0-1.0"}
    return LabelledShape(mesh, np.stack(labelings).astype(np.uint8), info)
