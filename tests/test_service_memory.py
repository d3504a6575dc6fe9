# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server holds, what it gives up, and what it does where memory runs out."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from backend import Mesh, Segmenter, encoding
from backend.errors import Cancelled, ProtocolError
from backend.geometry import sample_surface
from backend.segmentation import encoded_shape
from backend.service.held import GRAPH_THREAD, Recent, held_bytes
from backend.service.memory import Footprint, is_out_of_memory, within_memory
from backend.service.protocol import (
    Message,
)
from backend.service.request_handlers import RequestHandlers
from backend.service.server import Call, Reply, RequestRefused
from tests.service_client import BALL, MODEL, Client, encode_fields


def call(kind: str, fields: dict[str, object], arrays: dict[str, np.ndarray] | None = None) -> Call:
    return Call(Message(kind, 1, fields, arrays or {}), lambda stage, fraction: None, lambda: False)


def answered(
    handlers: RequestHandlers, kind: str, fields: dict[str, object], **arrays: np.ndarray
) -> tuple[Reply, list[str]]:
    request = call(kind, fields, arrays)
    return handlers.handle(request), request.notices


def test_released_memory_is_filled_again_when_needed() -> None:
    handlers = RequestHandlers()
    handlers.release_memory()  # nothing is held yet
    shape = answered(handlers, "encode", encode_fields(BALL), **BALL)[0].fields["shape"]
    clicks = {"points": np.array([[0.0, 0, 1]]), "labels": np.array([1])}
    before = answered(handlers, "predict", {"shape": shape}, **clicks)[0]
    handlers.release_memory()
    after = answered(handlers, "predict", {"shape": shape}, **clicks)[0]
    np.testing.assert_array_equal(before.arrays["face_logits"], after.arrays["face_logits"])
    answered(handlers, "release", {"model": True})
    with pytest.raises(RequestRefused, match="no longer held"):
        answered(handlers, "predict", {"shape": shape}, **clicks)


def wait_for_graphs() -> None:
    for thread in threading.enumerate():
        if thread.name == GRAPH_THREAD:
            thread.join(60)


def test_the_face_graph_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers, built = RequestHandlers(), []
    build = encoded_shape.build_face_graph
    for module in (encoded_shape, encoding):
        monkeypatch.setattr(module, "build_face_graph", lambda mesh: built.append(mesh) or build(mesh))
    for _ in range(2):
        answered(handlers, "encode", encode_fields(BALL), **BALL)
        wait_for_graphs()
    (held,) = handlers._holdings.shapes
    assert len(built) == 1
    assert held.graph is held.encoded.face_graph


def test_a_preview_keeps_no_encoding_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a budget for one shape, the first goes when the second comes, clicked on or not."""
    monkeypatch.setattr("backend.service.holdings.SHAPES_BUDGET", 1)
    handlers = RequestHandlers()
    clicks = {"points": np.array([[0.0, 0, 1]]), "labels": np.array([1])}
    encodings, previews = [], []
    for seed in range(2):
        shape = answered(handlers, "encode", encode_fields(BALL, seed=seed), **BALL)[0].fields["shape"]
        previews.append(answered(handlers, "predict", {"shape": shape}, **clicks)[0].fields["prediction"])
        (held,) = handlers._holdings.shapes
        encodings.append(weakref.ref(held.encoded))
        del held
    wait_for_graphs()
    gc.collect()
    assert [encoding() is None for encoding in encodings] == [True, False]
    wanted = {"candidate": 0, "strength": 1.0}
    assert answered(handlers, "refine_prediction", {"prediction": previews[1], **wanted})[0].arrays
    with pytest.raises(RequestRefused, match="click again"):
        answered(handlers, "refine_prediction", {"prediction": previews[0], **wanted})


def test_memory_that_runs_out_is_met_with_a_smaller_batch_then_fewer_points(monkeypatch) -> None:
    """A full graphics card is not at hand: the network itself refuses what would not fit one."""
    segment, encode = Segmenter.segment_every_part, Segmenter.encode_points

    def segment_on_a_small_card(self, shape, **options):
        if options["prompt_batch"] > 4 or len(shape.points) > 5000:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return segment(self, shape, **options)

    def encode_on_a_small_card(self, points, *args, **options):
        if len(points) > 8000:
            raise RuntimeError("MPS backend out of memory")
        return encode(self, points, *args, **options)

    monkeypatch.setattr(Segmenter, "segment_every_part", segment_on_a_small_card)
    monkeypatch.setattr(Segmenter, "encode_points", encode_on_a_small_card)
    handlers = RequestHandlers()
    encoded, notices = answered(handlers, "encode", encode_fields(BALL), **BALL)
    assert encoded.fields["points"] == 5000
    assert notices == ["Memory ran out on cpu; went on with 5000 instead of 16384 sample points."]

    wanted = {"shape": encoded.fields["shape"], "prompts": 8, "granularity": 0.5}
    found, notices = answered(handlers, "segment_every_part", wanted)
    assert found.arrays["labels"].shape == (len(BALL["triangles"]),)
    assert [notice.split("went on with ")[1] for notice in notices] == [
        "16 instead of 64 prompts at a time.",
        "4 instead of 16 prompts at a time.",
    ]
    assert answered(handlers, "segment_every_part", wanted)[1] == [], "what worked is where it starts next"


def test_a_closer_look_without_memory_leaves_the_shape_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers, tried = RequestHandlers(), []
    other, shape = (
        answered(handlers, "encode", encode_fields(BALL, seed=seed), **BALL)[0].fields["shape"]
        for seed in range(2)
    )
    wanted = {"shape": shape, "size": 0.003}
    clicks = {"points": np.array([[0.0, 0, 1]]), "labels": np.array([1])}
    rough = answered(handlers, "predict", wanted, **clicks)[0]
    held = handlers._holdings.shapes.get(shape)
    before, encoded = held.footprint, held.encoded

    def on_a_full_card(*_: object, **__: object) -> None:
        tried.append(handlers._holdings.shapes.get(other).encoded is not None)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "close_up", on_a_full_card)
        for notices in (["Memory ran out; small parts of this shape are not looked at closely."], []):
            closer, told = answered(handlers, "predict", wanted | {"zoom": True}, **clicks)
            assert told == notices
            np.testing.assert_array_equal(closer.arrays["face_logits"], rough.arrays["face_logits"])
    assert tried == [True, False]  # what others hold is given up before the closer look is
    assert held.footprint == before and held.encoded is encoded
    held.forget_encoding()  # as after some idle time: there may be more memory now
    answered(handlers, "predict", wanted | {"zoom": True}, **clicks)
    assert len(held.close_ups) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process that already runs")
def test_a_process_at_its_memory_limit_goes_on_with_fewer_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real limit, set once libraries are loaded and threads run, so that it is met by large arrays alone.

    It is half of what 400,000 points take, and about twice what a quarter of them takes.
    """
    import resource

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    sample = sample_surface(Mesh(**BALL), 400_000, seed=0)
    named = {"points": sample.points, "normals": sample.normals, "colors": sample.colors}
    many = {**BALL, **named, "point_faces": sample.faces}
    client = Client()
    try:
        client.result("encode", encode_fields(BALL), **BALL)
        status = Path(f"/proc/{client.process.pid}/status").read_text()
        held = 1024 * int(status.split("VmSize:")[1].split()[0])
        resource.prlimit(client.process.pid, resource.RLIMIT_AS, (held + (450 << 20), -1))
        encoded = client.result("encode", encode_fields(many), **many).fields
        assert encoded["points"] in (100_000, 25_000)
        assert "went on with 100000 instead of 400000 sample points" in encoded["notices"][0]
        clicks = {"points": np.array([[0.0, 0, 1]]), "labels": np.array([1])}
        assert client.result("predict", {"shape": encoded["shape"]}, **clicks).arrays
    finally:
        client.close()


def test_a_network_that_does_not_fit_is_loaded_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Segmenter.load

    def load_on_a_full_card(model: str, *, device: str) -> Segmenter:
        if device != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return load(model, device=device)

    monkeypatch.setattr(Segmenter, "load", load_on_a_full_card)
    handlers = RequestHandlers()
    reply, notices = answered(handlers, "encode", encode_fields(BALL) | {"device": "auto"}, **BALL)
    assert reply.fields["device"] == "cpu"
    assert len(notices) == 1 and "no memory left" in notices[0]
    clicks = {"points": np.array([[0.0, 0, 1]]), "labels": np.array([1])}
    assert answered(handlers, "predict", {"shape": reply.fields["shape"]}, **clicks)[0].arrays


def test_the_last_step_down_is_the_cpu_as_it_was_asked_for() -> None:
    asked = Footprint(prompt_batch=16, points=20_000, device="gpu")
    tried: list[Footprint] = []
    notices: list[str] = []

    def compute(footprint: Footprint) -> str:
        tried.append(footprint)
        if footprint.device != "cpu":
            raise torch.OutOfMemoryError("out of memory")
        return "done"

    assert within_memory(asked, compute, notices=notices) == ("done", Footprint(16, 20_000, "cpu"))
    assert tried == [
        asked,
        Footprint(4, 20_000, "gpu"),
        Footprint(4, 5000, "gpu"),
        Footprint(16, 20_000, "cpu"),
    ]
    assert notices[-1] == "Memory ran out on gpu; went on with the CPU, which is slower."


def test_where_nothing_smaller_is_left_or_something_else_is_wrong_the_error_stays() -> None:
    def always(_: Footprint) -> None:
        raise MemoryError("no more")

    with pytest.raises(MemoryError):
        within_memory(Footprint(4, 100, "cpu"), always, notices=[])

    def cancelled(_: Footprint) -> None:
        raise Cancelled()

    notices: list[str] = []
    with pytest.raises(Cancelled):
        within_memory(Footprint(64, 100_000, "gpu"), cancelled, notices=notices)
    assert notices == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("could not create a primitive"), True),  # oneDNN
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."), True),
        (MemoryError(), True),
        (RuntimeError("shape mismatch"), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ProtocolError("oversize"), False),
    ],
)
def test_running_out_of_memory_is_recognised_in_all_its_forms(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
    wrapped = ValueError("failed")
    wrapped.__cause__ = error
    assert is_out_of_memory(wrapped) is expected


def test_room_is_made_before_anything_gets_smaller() -> None:
    asked = Footprint(prompt_batch=64, points=20_000, device="gpu")
    others = ["an encoding", "another"]
    notices: list[str] = []

    def compute(footprint: Footprint) -> Footprint:
        if others:
            raise torch.OutOfMemoryError("out of memory")
        return footprint

    reached = within_memory(asked, compute, notices=notices, make_room=lambda: bool(others and others.pop()))
    assert reached == (asked, asked) and notices == []


def test_the_least_recently_used_is_forgotten() -> None:
    kept: Recent[np.ndarray] = Recent(24, held_bytes)
    for name in "abc":
        kept.put(name, np.zeros(1))
    assert kept.get("a") is not None
    kept.put("d", np.zeros(1))
    assert [kept.get(name) is not None for name in "abcd"] == [True, False, True, True]
    kept.put("large", np.zeros(100))
    assert len(kept) == 1 and kept.get("large") is not None


def test_what_is_held_is_weighed_once() -> None:
    ball_here = Segmenter.load(MODEL, device="cpu").encode(Mesh(**BALL))
    sizes = [held_bytes(part) for part in (ball_here.points, ball_here.mesh, ball_here.encoding)]
    assert held_bytes(ball_here) > sum(sizes) > 10_000_000
    assert held_bytes([ball_here, ball_here]) == held_bytes(ball_here)
    assert held_bytes({"a": np.zeros(4), "b": "text"}) == 32
