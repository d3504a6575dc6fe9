# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages survive the pipe bit by bit, and nothing that is not one does any harm."""

from __future__ import annotations

import io
import json
import os
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from backend.errors import ProtocolError
from backend.service.protocol import (
    DTYPES,
    MAGIC,
    PREFIX,
    PROTOCOL_VERSION,
    Limits,
    Message,
    VersionMismatch,
    content_hash,
    read_message,
    write_message,
)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
arrays = st.sampled_from(list(DTYPES.values())).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)
names = st.text(min_size=1, max_size=64)
messages = st.builds(
    Message,
    kind=st.text(),
    id=st.integers(0, 2**53),
    fields=st.dictionaries(st.text(), json_values, max_size=4),
    arrays=st.dictionaries(names, arrays, max_size=4),
)


def packed(message: Message) -> bytes:
    stream = io.BytesIO()
    write_message(stream, message)
    return stream.getvalue()


def framed(header: object, payload: bytes = b"", *, version: int = PROTOCOL_VERSION) -> bytes:
    """A message with a hand-made header."""
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return PREFIX.pack(MAGIC, version, 0, len(data), len(payload)) + data + payload


def header_with(*specs: object) -> dict[str, object]:
    return {"kind": "x", "id": 1, "fields": {}, "arrays": list(specs)}


def assert_same(message: Message, other: Message | None) -> None:
    assert other is not None
    assert (message.kind, message.id, message.fields) == (other.kind, other.id, other.fields)
    assert list(message.arrays) == list(other.arrays)
    for name, array in message.arrays.items():
        received = other.arrays[name]
        assert (received.dtype.name, received.shape) == (array.dtype.name, array.shape)
        assert received.tobytes() == array.tobytes()  # NaN bits included


@given(st.lists(messages, max_size=3))
def test_messages_come_back_as_they_were_sent(sent: list[Message]) -> None:
    stream = io.BytesIO(b"".join(map(packed, sent)))
    for message in sent:
        assert_same(message, read_message(stream))
    assert read_message(stream) is None


def test_noncontiguous_and_big_endian_arrays_are_sent_by_value() -> None:
    grid = np.arange(12, dtype=np.int32).reshape(3, 4)
    sent = Message("x", arrays={"slice": grid.T[::2], "big": grid.astype(">i4")})
    received = read_message(io.BytesIO(packed(sent)))
    assert received is not None
    np.testing.assert_array_equal(received.arrays["slice"], grid.T[::2])
    np.testing.assert_array_equal(received.arrays["big"], grid)


@settings(max_examples=40)
@given(messages, st.data())
def test_a_stream_that_ends_within_a_message_is_refused(message: Message, data: st.DataObject) -> None:
    whole = packed(message)
    length = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(ProtocolError, match="ended within a message"):
        read_message(io.BytesIO(whole[:length]))


@given(st.binary(min_size=1, max_size=200))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_message(io.BytesIO(garbage))


@settings(max_examples=200)
@given(messages, st.data())
def test_a_damaged_message_is_refused_or_read_as_another(message: Message, data: st.DataObject) -> None:
    """Whatever byte is changed: a message or a ProtocolError, never anything else."""
    damaged = bytearray(packed(message))
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position] ^= data.draw(st.integers(1, 255))
    try:
        received = read_message(io.BytesIO(damaged))
    except ProtocolError:
        return
    assert isinstance(received, Message)


def test_another_version_is_named() -> None:
    stream = io.BytesIO(framed(header_with(), version=PROTOCOL_VERSION + 1))
    with pytest.raises(VersionMismatch, match=f"version {PROTOCOL_VERSION + 1}.*version {PROTOCOL_VERSION}"):
        read_message(stream)


@pytest.mark.parametrize(
    "prefix",
    [
        PREFIX.pack(MAGIC, PROTOCOL_VERSION, 0, 0xFFFFFFFF, 0),
        PREFIX.pack(MAGIC, PROTOCOL_VERSION, 0, 10, 2**63),
    ],
    ids=["header", "payload"],
)
def test_oversize_is_refused_before_anything_is_allocated_or_read(prefix: bytes) -> None:
    stream = io.BytesIO(prefix + bytes(100))
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="exceed"):
            read_message(stream)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
    assert stream.tell() == PREFIX.size


def test_an_array_larger_than_its_message_is_refused_before_it_is_allocated() -> None:
    stream = io.BytesIO(framed(header_with(["a", "float64", [2**40]]), bytes(16)))
    with pytest.raises(ProtocolError, match="announces 16"):
        read_message(stream)


def test_limits_are_the_readers_choice() -> None:
    message = packed(Message("x", arrays={"a": np.zeros(100), "b": np.zeros(1)}))
    for limits in (Limits(header_bytes=10), Limits(payload_bytes=800), Limits(arrays=1)):
        with pytest.raises(ProtocolError, match="exceed"):
            read_message(io.BytesIO(message), limits=limits)
    assert read_message(io.BytesIO(message), limits=Limits(payload_bytes=808, arrays=2)) is not None


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"\xff\xfe", "not JSON"),
        (b"[1, 2", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"kind": "x", "id": NaN}', "NaN is not allowed"),
        ([], "lacks"),
        ({"kind": "x"}, "lacks"),
        ({"kind": 1, "id": 1, "fields": {}, "arrays": []}, "wrong type"),
        ({"kind": "x", "id": True, "fields": {}, "arrays": []}, "wrong type"),
        (header_with("a"), r"instead of \[name, dtype, shape\]"),
        (header_with([1, "int32", []]), "not an array name"),
        (header_with(["", "int32", []]), "not an array name"),
        (header_with(["a", "object", [1]]), "dtype 'object'"),
        (header_with(["a", ["int32"], [1]]), "dtype"),
        (header_with(["a", "int32", [-1]]), "shape"),
        (header_with(["a", "int32", [1.5]]), "shape"),
        (header_with(["a", "int32", [True]]), "shape"),
        (header_with(["a", "int32", [0] * 5]), "shape"),
        (header_with(["a", "int32", 3]), "shape"),
        (header_with(["a", "int32", [2**70, 0]]), "no memory"),
        (header_with(["a", "int32", [0]], ["a", "int32", [0]]), "same name"),
    ],
)
def test_contradictory_headers_are_refused(header: object, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        read_message(io.BytesIO(framed(header)))


def test_a_bool_array_holds_nothing_but_bools() -> None:
    with pytest.raises(ProtocolError, match="bool"):
        read_message(io.BytesIO(framed(header_with(["a", "bool", [2]]), b"\x01\x07")))


@pytest.mark.parametrize(
    "message",
    [
        Message("x", fields={"a": float("nan")}),
        Message("x", fields={"a": object()}),
        Message("x", arrays={"a": np.array(["text"])}),
        Message("x", arrays={"a": np.array([None])}),
        Message("x", arrays={"a": np.zeros(3, dtype=[("x", "f4")])}),
        Message("x", arrays={"a": np.zeros((1,) * 5)}),
        Message("x" * (1 << 21)),
    ],
    ids=["nan", "object", "text", "pickle", "structured", "five dimensions", "long header"],
)
def test_what_cannot_be_sent_is_refused_before_a_byte_is_written(message: Message) -> None:
    stream = io.BytesIO()
    with pytest.raises(ProtocolError):
        write_message(stream, message)
    assert stream.getvalue() == b""


class Dribble(io.RawIOBase):
    """A stream that hands out and takes a few bytes at a time, as a pipe may."""

    def __init__(self, data: bytes = b"") -> None:
        self.buffer = io.BytesIO(data)

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        piece = self.buffer.read(min(7, len(target)))
        target[: len(piece)] = piece
        return len(piece)

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        return self.buffer.write(data[:5])


def test_streams_may_read_and_write_in_pieces() -> None:
    message = Message("x", 3, {"a": [1]}, {"a": np.arange(50.0)})
    sink = Dribble()
    write_message(sink, message)
    assert sink.buffer.getvalue() == packed(message)
    assert_same(message, read_message(Dribble(packed(message))))


def test_a_mesh_of_a_million_faces_crosses_a_pipe() -> None:
    random = np.random.default_rng(0)
    mesh = {
        "vertices": random.random((501_000, 3)),
        "triangles": random.integers(0, 501_000, (1_000_000, 3), dtype=np.int32),
    }
    message = Message("encode", 1, {}, mesh)
    read_end, write_end = os.pipe()
    with open(read_end, "rb", buffering=0) as source, open(write_end, "wb", buffering=0) as sink:  # noqa: PTH123
        writer = threading.Thread(target=write_message, args=(sink, message))
        writer.start()
        received = read_message(source)
        writer.join()
    assert_same(message, received)


def test_content_hash_tells_values_names_shapes_and_dtypes_apart() -> None:
    array = np.arange(6, dtype=np.int32)
    variants = [
        {"a": array},
        {"b": array},
        {"a": array.reshape(2, 3)},
        {"a": array.astype(np.int64)},
        {"a": array[::-1]},
        {"a": array, "b": array},
        {"a": array[:0]},
        {},
    ]
    assert len({content_hash(variant) for variant in variants}) == len(variants)
    assert content_hash({"a": array, "b": array[:2]}) == content_hash(
        {"b": array[:2].copy(), "a": array.copy()}
    )
