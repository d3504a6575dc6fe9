# SPDX-License-Identifier: GPL-3.0-or-later
"""The server as a process of its own, spoken to in raw protocol bytes; and what its requests mean."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import numpy as np
import pytest
import trimesh

from backend import Mesh, Segmenter
from backend.geometry import sample_surface
from backend.network import PRESETS
from backend.refinement import build_face_graph
from backend.refinement.mask import refine_mask
from backend.segmenter import EncodedShape
from backend.service.protocol import (
    DEVICE_FAILED_EXIT,
    MAGIC,
    PREFIX,
    PROTOCOL_VERSION,
    Message,
    read_message,
    write_message,
)
from backend.transfer import TransferSettings, correspond_by, transfer_labels
from tests.service_client import BALL, MODEL, Client, encode_fields, mesh_arrays

MALFORMED = PREFIX.pack(MAGIC, PROTOCOL_VERSION, 0, 3, 0) + b"{}}"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    client = Client()
    yield client
    assert client.close() == 0


@pytest.fixture(scope="module")
def ball(client: Client) -> str:
    """The id of an encoded sphere."""
    return client.result("encode", encode_fields(BALL), **BALL).fields["shape"]


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.load(MODEL, device="cpu")


@pytest.fixture(scope="module")
def ball_here(segmenter: Segmenter) -> EncodedShape:
    """The same sphere, encoded in this process."""
    return segmenter.encode(Mesh(**BALL))


# What the bytes on the pipe may do


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "not a PartSAM message: it starts with b'GET / HT'"),
        (PREFIX.pack(MAGIC, PROTOCOL_VERSION + 1, 0, 2, 0) + b"{}", "update PartSAM and restart Blender"),
        (PREFIX.pack(MAGIC, PROTOCOL_VERSION, 0, 0xFFFFFFFF, 0), "exceeds the limit"),
        (PREFIX.pack(MAGIC, PROTOCOL_VERSION, 0, 2, 2**62), "exceed the limit"),
        (MALFORMED, "not JSON"),
        (PREFIX.pack(MAGIC, PROTOCOL_VERSION, 0, 1000, 0) + b'{"kind": "hello"', "ended within a message"),
    ],
    ids=["garbage", "version", "header size", "payload size", "header", "truncated"],
)
def test_a_broken_stream_is_named_and_ends_the_server(data: bytes, reason: str) -> None:
    client = Client()
    client.process.stdin.write(data)
    if "ended" in reason:
        client.process.stdin.close()
    message = client.receive()
    assert (message.kind, message.id, message.fields["error"]) == ("error", 0, "protocol")
    assert reason in message.fields["message"]
    assert read_message(client.process.stdout) is None
    assert client.ended() == 0


def test_it_ends_with_its_input_even_while_it_computes() -> None:
    client = Client()
    client.send("encode", encode_fields(BALL), **BALL)
    while client.receive().fields["stage"] != "encode":
        pass
    assert client.close() == 0


def test_it_ends_with_its_parent_even_if_its_input_stays_open() -> None:
    with subprocess.Popen(["sleep", "600"]) as parent:
        client = Client(f"--parent-pid={parent.pid}")
        assert client.error("nonsense")[0] == "protocol"
        parent.kill()
        assert client.ended() == 0
    assert any("has ended" in line for line in client.log)


def test_a_parent_that_cannot_be_seen_is_not_watched() -> None:
    with subprocess.Popen(["true"]) as parent:
        parent.wait()
    client = Client(f"--parent-pid={parent.pid}")
    assert client.error("nonsense")[0] == "protocol"
    assert client.close() == 0
    assert any("is not visible" in line for line in client.log)


def test_shutdown_and_the_command_line_front_end() -> None:
    client = Client(command=[sys.executable, "-m", "backend", "serve"])
    assert client.ask("shutdown").kind == "result"
    assert client.ended() == 0


FAULTY = """
    import ctypes, logging, os
    import torch
    from backend.service.server import Reply, Server
    from backend.service.standard_streams import claim_standard_streams

    class Faulty:
        def handle(self, call):
            kind = call.message.kind
            print("printed by Python", flush=True)
            os.system("echo printed by a child")
            os.write(1, b"written to the descriptor\\n")
            ctypes.CDLL(None).puts(b"printed by C")
            ctypes.CDLL(None).fflush(None)
            if kind == "bug":
                return {}["nothing"]
            if kind == "import":
                import no_such_module
            if kind == "memory":
                raise MemoryError
            if kind == "device":
                raise torch.AcceleratorError("CUDA error: unspecified launch failure\\nmore")
            if kind == "unsendable":
                return Reply({"value": object()})
            if kind == "read":
                return Reply({"read": len(open(0, "rb", closefd=False).read())})
            return Reply({"fine": True})

        def release_memory(self):
            logging.warning("idle")

    source, sink = claim_standard_streams()
    logging.basicConfig(level=logging.INFO)
    Server(source, sink, Faulty(), idle_seconds=0.0).run()
"""


def test_whatever_a_handler_does_the_server_goes_on_and_the_pipe_stays_clean() -> None:
    client = Client(command=[sys.executable, "-c", textwrap.dedent(FAULTY)])
    kind, text = client.error("bug")
    assert kind == "bug" and "KeyError: 'nothing'" in text and "log" in text
    kind, text = client.error("memory")
    assert kind == "out_of_memory" and "smaller mesh" in text
    kind, text = client.error("import")
    assert kind == "user" and "No module named 'no_such_module'" in text and "preferences" in text
    assert client.error("unsendable")[0] == "protocol"
    assert client.result("read").fields["read"] == 0
    assert client.result("fine").fields == {"fine": True, "notices": []}
    assert client.error("configure", {"idle_release_seconds": -1.0})[0] == "protocol"
    client.result("configure", {"idle_release_seconds": 0.1})
    while "WARNING:root:idle" not in client.log:
        time.sleep(0.02)
    kind, text = client.error("device")
    assert kind == "device" and "unspecified launch failure), and the backend had to end" in text
    assert client.ended() == DEVICE_FAILED_EXIT, "a lost device is lost to the process"
    log = "\n".join(client.log)
    for text in ("printed by Python", "printed by a child", "written to the descriptor", "printed by C"):
        assert text in log
    assert "Traceback" in log and "in handle" in log


def test_requests_sent_at_once_are_answered_one_after_another(client: Client) -> None:
    first, second = client.send("hello"), client.send("nonsense")
    assert client.answer(first).fields["protocol"] == PROTOCOL_VERSION
    assert client.answer(second).fields["error"] == "protocol"


def test_an_id_in_use_is_refused_and_the_first_request_answered(client: Client, ball: str) -> None:
    fields = {"shape": ball, "prompts": 64, "granularity": 0.5}
    request_id = client.send("segment_every_part", fields)
    write_message(client.process.stdin, Message("hello", request_id))
    kinds = []
    while (message := client.receive()).kind != "result":
        kinds.append((message.kind, message.id))
    assert ("error", 0) in kinds
    assert message.id == request_id and "part_count" in message.fields


# What requests mean


@pytest.mark.parametrize(
    ("kind", "fields", "arrays", "reason"),
    [
        ("encode", encode_fields(BALL, seed="0"), BALL, "'seed' to be a whole number"),
        ("encode", encode_fields(BALL, model=""), BALL, "'model' to be a non-empty string"),
        ("encode", encode_fields(BALL, content="x"), BALL, "changed while they were being sent"),
        ("predict", {"shape": "BALL"}, {}, "'points' to be sent with it"),
        ("predict", {"shape": "BALL"}, {"points": np.zeros((2, 2))}, r"'points' to be floats [n, 3]"),
        ("segment_every_part", {"shape": "BALL", "prompts": True}, {}, "'prompts' to be a whole number"),
        (
            "segment_every_part",
            {"shape": "BALL", "prompts": 8, "poses": 0},
            {},
            "'poses' to be a whole number",
        ),
        ("segment_every_part", {"shape": "BALL", "prompts": 8, "granularity": 2}, {}, "from 0.0 to 1.0"),
        ("release", {"model": 1}, {}, "'model' to be true or false"),
    ],
)
def test_malformed_requests_are_refused(client: Client, ball: str, kind, fields, arrays, reason: str) -> None:
    fields = {name: ball if value == "BALL" else value for name, value in fields.items()}
    error, message = client.error(kind, fields, **arrays)
    assert error == "protocol" and reason in message


def broken_meshes() -> dict[str, tuple[dict[str, np.ndarray], str]]:
    nan = {**BALL, "vertices": np.where(BALL["vertices"] > 0.99, np.nan, BALL["vertices"])}
    flat = {**BALL, "vertices": np.zeros_like(BALL["vertices"])}
    empty = {**BALL, "triangles": np.zeros((0, 3), dtype=np.int32)}
    foreign = {**BALL, "triangles": BALL["triangles"] + 1000}
    return {
        "nan": (nan, "not finite"),
        "flat": (flat, "no surface area"),
        "empty": (empty, "no faces"),
        "foreign": (foreign, "refer to vertices"),
    }


@pytest.mark.parametrize("name", broken_meshes())
def test_broken_meshes_are_the_users_to_repair(client: Client, name: str) -> None:
    arrays, reason = broken_meshes()[name]
    kind, message = client.error("encode", encode_fields(arrays), **arrays)
    assert kind == "user" and reason in message


def test_an_unknown_model_and_device_are_named(client: Client) -> None:
    kind, message = client.error("load_model", {"model": "no-such-model", "device": "cpu"})
    assert kind == "user" and "no-such-model" in message
    assert client.error("load_model", {"model": MODEL, "device": "abacus"})[0] == "user"


def test_what_is_not_held_is_asked_for(client: Client) -> None:
    fields = encode_fields(BALL, seed=99)
    assert client.error("encode", fields)[0] == "need_arrays"
    assert client.error("predict", {"shape": "gone"}, points=np.zeros((1, 3)))[0] == "missing"
    assert client.error("face_labels", {"parts": "gone", "granularity": 0.5})[0] == "missing"
    gone = {"prediction": "gone", "candidate": 0, "strength": 1.0}
    assert client.error("refine_prediction", gone)[0] == "missing"


def test_an_unchanged_shape_is_neither_sent_nor_encoded_again(client: Client, ball: str) -> None:
    again = client.result("encode", encode_fields(BALL))
    assert again.fields["shape"] == ball
    assert again.fields["reused"] is True
    assert again.fields["faces"] == len(BALL["triangles"])


def test_clicks_give_what_the_segmenter_gives(client: Client, ball: str, segmenter, ball_here) -> None:
    points, labels = np.array([[0.0, 0, 1], [0, 0, -1]]), np.array([1, 0], dtype=np.int32)
    first = client.result("predict", {"shape": ball}, points=points[:1], labels=labels[:1])
    assert first.arrays["face_logits"].shape == (3, len(BALL["triangles"]))
    second = client.result(
        "predict", {"shape": ball, "previous": first.fields["prediction"]}, points=points, labels=labels
    )

    expected = segmenter.predict(ball_here, points[:1], labels[:1])
    np.testing.assert_allclose(first.arrays["face_logits"], expected.face_logits, atol=1e-4)
    np.testing.assert_allclose(first.arrays["scores"], expected.scores, atol=1e-5)
    assert first.fields["best"] == expected.best
    refined = segmenter.predict(ball_here, points, labels, previous=expected)
    np.testing.assert_allclose(second.arrays["face_logits"], refined.face_logits, atol=1e-4)

    request = {"prediction": second.fields["prediction"], "candidate": 0, "strength": 0.0}
    mask = client.result("refine_prediction", request).arrays["labels"]
    assert mask.shape == (len(BALL["triangles"]),) and set(np.unique(mask)) <= {0, 1}
    kind, message = client.error("refine_prediction", {**request, "candidate": 1})
    assert kind == "protocol" and "from 0 to 0" in message


def test_a_part_of_many_clicks_is_smoothed_less_when_it_is_refined(
    client: Client, ball: str, ball_here
) -> None:
    points = np.array([[0.0, 0, 1], *np.eye(3)[:2], [0, 0, -1]])
    found = client.result("predict", {"shape": ball}, points=points, labels=np.array([1, 0, 0, 0]))
    logits, graph = found.arrays["face_logits"][0], build_face_graph(ball_here.mesh)
    request = {"prediction": found.fields["prediction"], "candidate": 0, "strength": 0.03}
    mask = client.result("refine_prediction", request).arrays["labels"]
    once, four_times = (refine_mask(graph, logits, strength=0.03, clicks=clicks) for clicks in (1, 4))
    np.testing.assert_array_equal(mask, four_times)
    assert (once != four_times).any()


def test_a_size_and_several_parts_give_what_the_segmenter_gives(
    client: Client, ball: str, segmenter, ball_here
) -> None:
    clicks = {"points": np.array([[0.0, 0, 1], [0, 1, 0], [0, 0, -1]]), "labels": np.array([1, 1, 1])}
    one = {name: values[:1] for name, values in clicks.items()}
    told = client.result("predict", {"shape": ball, "size": 0.2}, **one)
    expected = segmenter.predict(ball_here, one["points"], one["labels"], size=0.2)
    np.testing.assert_allclose(told.arrays["face_logits"], expected.face_logits, atol=1e-4)
    assert told.fields["best"] == expected.best
    assert "from 0.0 to 1.0" in client.error("predict", {"shape": ball, "size": 2.0}, **one)[1]

    zoom = segmenter.close_up(ball_here, segmenter.where_to_look(ball_here, **one, size=0.003))
    expected = segmenter.predict(ball_here, one["points"], one["labels"], size=0.003, zoom=zoom)
    for _ in range(2):  # the second time in the close-up that is held
        closer = client.result("predict", {"shape": ball, "size": 0.003, "zoom": True}, **one)
        np.testing.assert_allclose(closer.arrays["face_logits"], expected.face_logits, atol=1e-4)
    assert "true or false" in client.error("predict", {"shape": ball, "zoom": "yes"}, **one)[1]

    several = {"points": clicks["points"], "labels": np.array([1, 0, 0])}
    expected = segmenter.predict(ball_here, **several)
    place = segmenter.where_to_look(ball_here, **several, answer=expected)
    if place is not None:  # where the untrained network finds a small part
        expected = segmenter.predict(ball_here, **several, zoom=segmenter.close_up(ball_here, place))
    closer = client.result("predict", {"shape": ball, "zoom": True}, **several)
    np.testing.assert_allclose(closer.arrays["face_logits"], expected.face_logits, atol=1e-4)

    together = {"points": clicks["points"], "parts": np.array([0, 1, 0])}
    found = client.result("predict_parts", {"shape": ball, "strength": 0.0}, **together)
    groups = [clicks["points"][[0, 2]], clicks["points"][[1]]]
    np.testing.assert_array_equal(
        found.arrays["labels"], segmenter.predict_parts(ball_here, groups).face_labels
    )
    assert found.arrays["scores"].shape == (2,)
    refined = client.result("predict_parts", {"shape": ball, "strength": 1.0}, **together).arrays["labels"]
    assert set(np.unique(refined)) <= {-1, 0, 1}
    for numbers in ([0, 2, 0], [0, 1], [-1, 0, 1]):
        wrong = {**together, "parts": np.array(numbers)}
        kind, message = client.error("predict_parts", {"shape": ball, "strength": 0.0}, **wrong)
        assert kind == "protocol" and "from 0 without gaps" in message


def test_the_callers_sample_is_what_is_encoded(client: Client, ball: str) -> None:
    """A sample drawn as the backend would draw it gives the same encoding as letting it draw."""
    drawn = sample_surface(Mesh(**BALL), PRESETS["small"].points, seed=0)
    arrays = {
        **BALL,
        "points": drawn.points,
        "normals": drawn.normals,
        "colors": drawn.colors,
        "point_faces": drawn.faces,
    }
    shape = client.result("encode", encode_fields(arrays), **arrays).fields["shape"]
    assert shape != ball
    clicks = {"points": np.array([[0.0, 1, 0]]), "labels": np.array([1])}
    logits = [
        client.result("predict", {"shape": name}, **clicks).arrays["face_logits"] for name in (shape, ball)
    ]
    np.testing.assert_array_equal(*logits)

    for broken, reason in (
        ({"point_faces": drawn.faces + 10_000}, "must lie in 0..1279"),
        ({"normals": drawn.normals[1:]}, "the same length"),
        ({"colors": drawn.colors * np.float32("nan")}, "not finite"),
    ):
        changed = {**arrays, **broken}
        assert reason in client.error("encode", encode_fields(changed), **changed)[1]


def test_all_parts_at_any_granularity(client: Client, ball: str, segmenter, ball_here) -> None:
    request_id = client.send("segment_every_part", {"shape": ball, "prompts": 32, "granularity": 1.0})
    stages = []
    while (message := client.receive()).kind == "progress":
        stages.append(message.fields["stage"])
    assert message.id == request_id and "prompts" in stages and "parts" in stages
    expected = segmenter.segment_every_part(ball_here, prompts=32)
    np.testing.assert_array_equal(message.arrays["labels"], expected.face_labels(1.0))
    np.testing.assert_allclose(message.arrays["confidence"], expected.confidence(1.0), atol=1e-5)

    parts = message.fields["parts"]
    labels = client.result("face_labels", {"parts": parts, "granularity": 0.0})
    np.testing.assert_array_equal(labels.arrays["labels"], expected.face_labels(0.0))
    tree = client.result("part_tree", {"parts": parts}).arrays
    for step, granularity in enumerate(np.linspace(0, 1, len(tree["labels"]))):
        stored = tree["labels"][step][tree["atoms"]]
        np.testing.assert_array_equal(stored, expected.face_labels(float(granularity)))
        confidence = expected.confidence(float(granularity))
        np.testing.assert_allclose(tree["confidences"][step][: len(confidence)], confidence, atol=1e-5)
    few = client.result("face_labels", {"parts": parts, "granularity": 0.0, "count": 2})
    np.testing.assert_array_equal(few.arrays["labels"], expected.face_labels(parts=2))
    wrong = {"parts": parts, "granularity": 0.0, "count": 0}
    assert client.error("face_labels", wrong)[0] == "protocol"
    refined = client.result("refine", {"parts": parts, "granularity": 0.5, "strength": 2.0})
    np.testing.assert_array_equal(refined.arrays["labels"], expected.refined_labels(0.5, strength=2.0))
    assert refined.fields["part_count"] == len(refined.arrays["confidence"])


def test_parts_travel_and_copies_are_found_without_a_network(client: Client) -> None:
    boxes = [trimesh.creation.box(), trimesh.creation.box(transform=np.diag([-1.0, 1, 1, 1]))]
    boxes[1].apply_translation([3, 0, 0])
    source, target = trimesh.util.concatenate(boxes), trimesh.util.concatenate(boxes).subdivide()
    labels = np.repeat([5, 2], 12).astype(np.int32)
    arrays = {f"source_{name}": value for name, value in mesh_arrays(source).items()}
    arrays |= {f"target_{name}": value for name, value in mesh_arrays(target).items()}
    arrays["source_labels"] = labels
    message = client.result("transfer", {"strength": 1.0}, **arrays)
    np.testing.assert_array_equal(message.arrays["labels"], np.where(target.triangles_center[:, 0] > 1, 2, 5))
    message = client.result("find_repeats", **mesh_arrays(source), labels=labels)
    assert message.fields["group_count"] == 1
    np.testing.assert_array_equal(message.arrays["parts"], [2, 5])
    np.testing.assert_allclose(message.arrays["transforms"][1][:3, 3], [-3, 0, 0], atol=0.1)
    kind, reason = client.error("find_repeats", **mesh_arrays(source), labels=labels[:5])
    assert kind == "protocol" and "a label from 0 for each triangle" in reason


def test_parts_in_several_poses(client: Client, ball: str, segmenter, ball_here) -> None:
    wanted = {"shape": ball, "prompts": 16, "poses": 2, "granularity": 0.7}
    found = client.result("segment_every_part", wanted).arrays["labels"]
    expected = segmenter.segment_every_part(ball_here, prompts=16, poses=2)
    np.testing.assert_array_equal(found, expected.face_labels(0.7))
    assert "1 to 8" in client.error("segment_every_part", wanted | {"poses": 9})[1]


def test_parts_travel_between_encoded_shapes(client: Client, ball: str) -> None:
    labels = (BALL["vertices"][BALL["triangles"]].mean(axis=1)[:, 2] > 0).astype(np.int32) + 4
    wanted = {"source": ball, "target": ball, "strength": 0.0}
    found = client.result("transfer_encoded", wanted, labels=labels).arrays["labels"]
    assert set(found) == {4, 5} and (found == labels).mean() > 0.9
    assert client.error("transfer_encoded", {**wanted, "target": "gone"}, labels=labels)[0] == "missing"


def test_fields_of_encoded_shapes_are_compared_as_the_files_stand(
    client: Client, segmenter: Segmenter
) -> None:
    """A body and the same lying, which stand alike before the network when they are looked at alone."""
    body = trimesh.util.concatenate([trimesh.creation.cone(1.0, 3.0), trimesh.creation.box((1.0, 2.5, 0.4))])
    bodies = [body.subdivide().subdivide(), body.subdivide().subdivide()]
    bodies[1].vertices = bodies[1].vertices @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    arrays = [mesh_arrays(each) for each in bodies]
    labels = (bodies[0].triangles_center[:, 2] > 1).astype(np.int32)
    names = [client.result("encode", encode_fields(each), **each).fields["shape"] for each in arrays]
    fields = {"source": names[0], "target": names[1], "strength": 0.0}
    found = client.result("transfer_encoded", fields, labels=labels).arrays["labels"]
    meshes = [Mesh(**each) for each in arrays]
    shapes = [segmenter.encode(mesh) for mesh in meshes]
    assert not np.array_equal(*(shape.normalization.turn for shape in shapes))
    by, _ = correspond_by(segmenter, *shapes)
    settings = TransferSettings(strength=0.0)
    expected = transfer_labels(meshes[0], labels, meshes[1], correspondence=by, settings=settings)
    np.testing.assert_array_equal(found, expected)


def test_a_cloud_gets_the_labels_of_all_granularities(client: Client) -> None:
    points = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    points[:, 0] += np.where(np.arange(500) < 250, 0, 9)
    points[3] = np.nan
    wanted = {"model": MODEL, "device": "cpu", "seed": 0, "prompts": 8}
    found = client.result("segment_cloud", wanted, points=points, colors=np.full_like(points, 0.5))
    atoms = found.arrays["atoms"]
    assert atoms.shape == (500,) and atoms[3] == -1 and (np.delete(atoms, 3) >= 0).all()
    assert found.arrays["labels"].shape == (101, found.fields["atom_count"])
    several = client.result("segment_cloud", wanted | {"poses": 2}, points=points)
    assert several.arrays["atoms"].shape == (500,)
    assert client.error("segment_cloud", wanted | {"poses": 9}, points=points)[0] == "user"
    assert client.error("segment_cloud", wanted, points=points[:5] * np.nan)[0] == "user"


def test_cancelling_stops_running_and_waiting_requests_and_nothing_else(client: Client, ball: str) -> None:
    fields = {"shape": ball, "prompts": 4096, "granularity": 0.5}
    running, waiting, wanted = (client.send("segment_every_part", fields) for _ in range(3))
    while client.receive().fields["stage"] != "prompts":
        pass
    for request_id in (running, waiting, 987654):  # the last is unknown, or was answered long ago
        write_message(client.process.stdin, Message("cancel", request_id))
    for request_id in (running, waiting):
        assert client.answer(request_id).fields["error"] == "cancelled"
    assert client.receive().id == wanted
    write_message(client.process.stdin, Message("cancel", wanted))
    assert client.answer(wanted).fields["error"] == "cancelled"
    assert client.result("encode", encode_fields(BALL)).fields["reused"] is True


def test_encoding_can_be_cancelled(client: Client) -> None:
    request_id = client.send("encode", encode_fields(BALL, seed=5), **BALL)
    while client.receive().fields["stage"] != "encode":
        pass
    write_message(client.process.stdin, Message("cancel", request_id))
    assert client.answer(request_id).fields["error"] == "cancelled"
    assert client.error("encode", encode_fields(BALL, seed=5))[0] == "need_arrays"


def test_a_mesh_of_a_million_faces_arrives_whole(client: Client) -> None:
    """It is refused for its one broken vertex, which the server has to find first."""
    side = 708
    grid = np.arange(side * side, dtype=np.int32).reshape(side, side)
    quads = np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], axis=-1).reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])[:-1]
    vertices = np.random.default_rng(0).random((side * side, 3))
    vertices[-2] = np.nan
    assert len(triangles) > 999_000
    arrays = {"vertices": vertices, "triangles": triangles}
    kind, message = client.error("encode", encode_fields(arrays), **arrays)
    assert (kind, message.split(" ", 1)[0]) == ("user", "1")
