# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded computations answer as computed ones do; here the CPU stands in for the card that replays them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from backend import Mesh, Segmenter
from backend.network import NetworkConfig, patch_geometry, recordings, untrained_network
from backend.network.recordings import Recordings
from tests.tiny_network import TINY, TWO_BRANCHES

Results = tuple[torch.Tensor | None, ...]


def overwritten(results: Results, new: Results) -> None:
    for own, value in zip(results, new, strict=True):
        if own is not None and value is not None:
            own.copy_(value)


def rerun(compute: Callable[[], Results]) -> tuple[Callable[[], None], Results]:
    """A recording as a graphics card makes them: a replay writes where the first results lie."""
    results = tuple(None if value is None else value.clone() for value in compute())
    return lambda: overwritten(results, compute()), results


def segmenter(monkeypatch: pytest.MonkeyPatch, record: Any) -> Segmenter:
    monkeypatch.setattr(recordings, "graph_recorder", lambda device: record)
    return Segmenter(untrained_network(TINY, seed=3))


def answers(segmenter: Segmenter) -> list[np.ndarray]:
    """Three shapes, clicked several times, so that shapes and clicks change between replays."""
    found = []
    for size in (1.0, 2.0, 3.0):
        box = trimesh.creation.box(extents=(1, 1, size))
        shape = segmenter.encode(Mesh(box.vertices, box.faces))
        first = segmenter.predict(shape, np.array([[0.5, 0, 0]]), np.ones(1))
        second = segmenter.predict(shape, np.array([[0.5, 0, 0], [0, 0.5, 0]]), np.array([1, 0]))
        third = segmenter.predict(shape, np.array([[0, 0, size / 2]]), np.ones(1), previous=first)
        joint = segmenter.predict_batch(shape, torch.rand(4, 1, 3), torch.ones(4, 1))
        again = segmenter.predict_batch(shape, torch.zeros(4, 1, 3), torch.ones(4, 1))
        found += [each.point_logits for each in (first, second, third)]
        found += [each.scores for each in (first, second, third)] + [again[0].numpy(), again[1].numpy()]
        assert joint[0].shape == again[0].shape
    return found


def test_recorded_answers_are_the_computed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = answers(segmenter(monkeypatch, None))
    replayed = segmenter(monkeypatch, rerun)
    for ours, theirs in zip(answers(replayed), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert replayed.release_recordings()
    assert not replayed.release_recordings()


def broken(compute: Callable[[], Results]) -> tuple[Callable[[], None], Results]:
    raise RuntimeError("operation not permitted when stream is capturing")


def stale(compute: Callable[[], Results]) -> tuple[Callable[[], None], Results]:
    results = tuple(None if value is None else torch.zeros_like(value) for value in compute())
    return lambda: None, results


def empty(compute: Callable[[], Results]) -> tuple[Callable[[], None], Results]:
    """Everything was computed while it was to be recorded, and a replay does nothing."""
    return lambda: None, tuple(None if value is None else value.clone() for value in compute())


@pytest.mark.parametrize("record", [broken, stale, empty])
def test_what_cannot_be_recorded_is_computed(
    record: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = answers(segmenter(monkeypatch, None))
    with caplog.at_level(logging.WARNING):
        found = answers(segmenter(monkeypatch, record))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [entry.message for entry in caplog.records if "cannot be recorded" in entry.message]


def test_results_outlive_the_next_replay_and_few_recordings_are_kept() -> None:
    made: list[int] = []

    def counted(compute: Callable[[], Results]) -> tuple[Callable[[], None], Results]:
        made.append(1)
        return rerun(compute)

    double = Recordings(counted)
    for size in (*range(1, 21), 20):
        results = [
            double.run("double", lambda x: (2 * x, None), torch.full((size,), float(i))) for i in range(4)
        ]
        assert [float(value[0]) for value, _ in results if value is not None] == [0.0, 2.0, 4.0, 6.0]
    assert len(made) == 20  # each once, and the last is still held
    double.run("double", lambda x: (2 * x, None), torch.ones(1))
    assert len(made) == 21


def test_warming_up_records_what_is_done_several_times(monkeypatch: pytest.MonkeyPatch) -> None:
    warm = segmenter(monkeypatch, rerun)
    warm.warm_up()
    assert not warm.release_recordings()  # a CPU needs none
    monkeypatch.setattr("backend.segmenter.works_by_itself", lambda device: True)
    warm.warm_up(times=1)
    assert not warm.release_recordings()
    warm.warm_up()
    assert warm.release_recordings()


@pytest.mark.parametrize("config", [TINY, TWO_BRANCHES])
def test_weights_in_half_precision_answer_as_converted_ones(config: NetworkConfig) -> None:
    """bfloat16 on the CPU stands in for what a graphics card computes in."""
    config = dataclasses.replace(config, half_precision="bfloat16")
    network, points = untrained_network(config, seed=3), torch.rand(1, 400, 3) * 2 - 1
    geometry = patch_geometry(points[0].numpy(), config)
    clicks, labels = points[:, :6].view(1, 3, 2, 3), torch.ones(1, 3, 2, dtype=torch.long)

    def answers() -> list[torch.Tensor | None]:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            encoding = network.encode(points, points, points.abs(), geometry)
            return [*vars(encoding).values(), *vars(network.decode(encoding, clicks, labels)).values()]

    expected = answers()
    recordings.round_weights(network)
    assert network.decoder.point_linear2.weight.dtype == torch.bfloat16
    for ours, theirs in zip(answers(), expected, strict=True):
        assert (ours is None and theirs is None) or torch.equal(ours, theirs)
