# SPDX-License-Identifier: GPL-3.0-or-later
"""On a real graphics card: the same patches and parts as on the CPU, recordings, and memory that runs out.

Skipped where there is none.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from backend import Segmenter, nearest_kernel
from backend.benchmarks.graph_cut import lumpy_torus
from backend.benchmarks.network import same_labels
from backend.devices import CUDA, GRAPHS_VARIABLE
from backend.geometry import Mesh, sample_surface
from backend.network import (
    PUBLISHED,
    SMALL,
    farthest_point_sampling,
    farthest_points,
    interpolation_weights,
    patch_geometry,
    row_kernels,
)
from backend.network.farthest_points import kernel_works
from backend.network.interpolation import gather_weighted
from backend.network.row_kernels import normalized_gelu
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
    places = shape.world_points[:6]
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


def test_shapes_are_set_upright_as_on_the_cpu(mesh: Mesh, on_card: Segmenter) -> None:
    """Whatever the file's axes, and found by the card."""
    assert next(on_card._upright.parameters()).is_cuda
    on_cpu = Segmenter.load("small", device="cpu")
    for axes in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        turned = Mesh(mesh.vertices[:, axes], mesh.triangles)
        expected, found = (each.encode(turned).normalization.turn for each in (on_cpu, on_card))
        np.testing.assert_array_equal(found, expected)


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


@pytest.mark.parametrize("count", [300, 5000, 40_000])
def test_farthest_points_of_a_lattice_are_those_of_the_cpu(count: int) -> None:
    """All distances are tied many times over; of many points several programs have a part each."""
    points = np.random.default_rng(1).integers(-9, 10, (count, 3)).astype(np.float32)
    expected = farthest_point_sampling(points, 300)
    np.testing.assert_array_equal(farthest_point_sampling(points, 300, device=CUDA), expected)


def test_kernels_are_used_and_compute_what_torch_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel_works(CUDA) and farthest_points._parts_work(CUDA) and nearest_kernel.works(CUDA)
    random = torch.Generator(CUDA).manual_seed(0)
    table = torch.randn(4, 600, 128, device=CUDA, generator=random)
    index = torch.randint(600, (1, 3001, 3), device=CUDA, generator=random).expand(4, -1, -1)[:, 1:]
    shares = torch.rand(1, 3000, 3, device=CUDA, generator=random).expand(4, -1, -1)
    added, norm = (
        torch.randn(1, 3000, 128, device=CUDA, generator=random),
        torch.nn.LayerNorm(128, device=CUDA),
    )
    found = []
    for use in (row_kernels.tested, lambda name, agrees, device: False):
        monkeypatch.setattr(row_kernels, "tested", use)
        with torch.inference_mode():
            sums = gather_weighted(table, index, shares)
            found.append(
                (sums, normalized_gelu(sums, added, norm), gather_weighted(table.half(), index, shares))
            )
    for ours, theirs, gap in zip(*found, (1e-5, 1e-4, 1e-2), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=gap)


def test_points_that_come_with_a_mesh_are_encoded_as_its_own(mesh: Mesh, on_card: Segmenter) -> None:
    sample = sample_surface(mesh, on_card.config.points)
    expected = on_card.encode(mesh)
    for faces in (sample.faces, None):
        found = on_card.encode_points(sample.points, sample.normals, point_faces=faces, mesh=mesh)
        assert torch.equal(found.geometry.neighbor_index, expected.geometry.neighbor_index)
        np.testing.assert_array_equal(found.sites.locations, expected.sites.locations)
        labels = [on_card.segment_every_part(own, prompts=64).face_labels() for own in (found, expected)]
        assert same_labels(*labels) > 0.98
    cloud = on_card.encode_points(sample.points)
    assert cloud.sites.of_face is None
    assert on_card.predict(cloud, sample.points[:1], np.array([1])).point_logits.shape[1] == len(
        sample.points
    )


def test_parts_are_those_of_the_cpu(mesh: Mesh, on_card: Segmenter) -> None:
    """Half precision moves borders by a few faces."""
    labels = []
    for segmenter in (on_card, Segmenter.load("small", device="cpu")):
        shape = segmenter.encode(mesh)
        assert segmenter.device == "cpu" or shape.graph_ahead is not None
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
    gc.collect()  # what the last test left is freed some time, and would be more than is allowed here
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
