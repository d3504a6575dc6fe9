# SPDX-License-Identifier: GPL-3.0-or-later
"""On a real graphics card: the same patches and parts as on the CPU, recordings, and memory that runs out.

Skipped where there is none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from backend import Segmenter
from backend.benchmarks.graph_cut import lumpy_torus
from backend.benchmarks.network import same_labels
from backend.devices import CUDA, GRAPHS_VARIABLE
from backend.geometry import Mesh
from backend.network import PUBLISHED, SMALL, interpolation_weights, patch_geometry
from backend.network.farthest_points import farthest_point_sampling, kernel_works
from backend.segmenter import EncodedShape
from backend.service.protocol import Message, content_hash
from backend.service.request_handlers import RequestHandlers
from backend.service.server import Call, Reply
from tests.bundled_cases import snowman

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card")


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return snowman().mesh


@pytest.fixture(scope="module")
def on_card() -> Segmenter:
    return Segmenter.load("small", device=CUDA)


def logits(segmenter: Segmenter, shape: EncodedShape) -> list[np.ndarray]:
    """Of clicks in one, two and three rounds, on several places."""
    found = []
    places = shape.points[:6] / shape.normalization.scale + shape.normalization.center
    for place in range(3):
        clicks = places[[place]]
        prediction = segmenter.predict(shape, clicks, np.array([1]))
        found.append(prediction.point_logits)
        for other in range(3, 5):
            clicks = np.concatenate([clicks, places[[other]]])
            signs = np.array([1] + [0] * (len(clicks) - 1))
            prediction = segmenter.predict(shape, clicks, signs, previous=prediction)
            found.append(prediction.point_logits)
    return found


@pytest.mark.parametrize(("count", "config"), [(16_384, SMALL), (100_000, PUBLISHED)])
def test_patches_are_those_of_the_cpu(count: int, config) -> None:
    axes = 6 if config.normal_distance else 3
    points = np.random.default_rng(0).normal(size=(count, axes)).astype(np.float32)
    ours, theirs = patch_geometry(points, config), patch_geometry(points, config, device=CUDA)
    for name, expected in vars(ours).items():
        assert torch.equal(getattr(theirs, name).cpu(), expected), name
    centers = points[ours.center_index[0].numpy()]
    index, weight = interpolation_weights(centers, points)
    found = interpolation_weights(centers, points, device=CUDA)
    assert torch.equal(found[0].cpu(), index)
    torch.testing.assert_close(found[1].cpu(), weight, rtol=1e-6, atol=0)


def test_farthest_points_of_a_lattice_are_those_of_the_cpu() -> None:
    """All distances are tied many times over."""
    points = np.random.default_rng(1).integers(-3, 4, (5000, 3)).astype(np.float32)
    expected = farthest_point_sampling(points, 300)
    np.testing.assert_array_equal(farthest_point_sampling(points, 300, device=CUDA), expected)
    logging.getLogger(__name__).info("by the kernel: %s", kernel_works(CUDA))


def test_parts_are_those_of_the_cpu(mesh: Mesh, on_card: Segmenter) -> None:
    """Half precision moves borders by a few faces."""
    labels = []
    for segmenter in (on_card, Segmenter.load("small", device="cpu")):
        shape = segmenter.encode(mesh)
        assert (shape.graph_ahead is None) == (segmenter.device == "cpu")
        parts = segmenter.segment_every_part(shape, prompts=64)
        labels.append(parts.face_labels())
    assert same_labels(*labels) > 0.98


def test_recorded_answers_are_the_computed_ones(
    mesh: Mesh, on_card: Segmenter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(GRAPHS_VARIABLE, "1")
    recorded = Segmenter.load("small", device=CUDA)
    monkeypatch.setenv(GRAPHS_VARIABLE, "0")
    computed = Segmenter.load("small", device=CUDA)
    with caplog.at_level(logging.WARNING):
        recorded.warm_up()
        for other in (mesh, lumpy_torus(3000)):
            shape = computed.encode(other)
            for _ in range(2):
                for ours, theirs in zip(logits(recorded, shape), logits(computed, shape), strict=True):
                    assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max() + 0.05
            again = recorded.encode(other)
            gap = (again.encoding.patches.float() - shape.encoding.patches.float()).norm()
            assert gap < 0.02 * shape.encoding.patches.float().norm()
    assert recorded.release_recordings(), caplog.text


@pytest.fixture
def capped(request: pytest.FixtureRequest) -> Iterator[int]:
    """A card that lets this process have so many MiB beyond what it already holds."""
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    allowed = torch.cuda.memory_reserved() + request.param * 2**20
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    yield request.param
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.mark.parametrize("capped", [2048, 400, 20], indirect=True)
def test_a_card_with_little_memory_still_answers(capped: int) -> None:
    """By smaller tiles first, then a smaller batch or fewer points, at the very end on the CPU."""
    mesh = lumpy_torus(40_000)
    arrays = {"vertices": mesh.vertices, "triangles": mesh.triangles}
    handlers, notices = RequestHandlers(), []

    def ask(kind: str, fields: dict[str, object], **sent: np.ndarray) -> Reply:
        call = Call(Message(kind, 1, fields, sent), lambda stage, share: None, lambda: False)
        reply = handlers.handle(call)
        notices.extend(call.notices)
        return reply

    encoded = ask(
        "encode",
        {"model": "small", "device": CUDA, "seed": 0, "content": content_hash(arrays)},
        **arrays,
    )
    shape = encoded.fields["shape"]
    parts = ask("segment_every_part", {"shape": shape, "prompts": 64, "granularity": 0.5})
    place = mesh.vertices[mesh.triangles[0]].mean(axis=0, keepdims=True)
    click = ask("predict", {"shape": shape}, points=place, labels=np.array([1]))
    assert parts.arrays["labels"].shape == click.arrays["face_logits"].shape[1:] == (mesh.face_count,)
    logging.getLogger(__name__).warning("with %d MiB: %s", capped, notices or "nothing given up")
    if capped >= 2048:
        assert not any("CPU" in notice for notice in notices)
    if capped <= 20:  # not even the weights fit
        assert notices
