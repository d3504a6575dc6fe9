# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages on the pipes between Blender and the backend.

Both sides import this, so it needs the standard library and numpy only.

A message on the wire, all integers little-endian:

    magic b"PSAM" | version u16 | reserved u16 (0) | header bytes u32 | payload bytes u64     (20 bytes)
    header: UTF-8 JSON {"kind": str, "id": int, "fields": {...}, "arrays": [[name, dtype, [shape]], ...]}
    payload: the arrays' bytes in that order, C order, little-endian, without padding

Nothing is ever unpickled. Sizes are checked against `Limits` before memory is allocated for them.
docs/protocol.md lists the requests and replies.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ProtocolError

PROTOCOL_VERSION = 1
MAGIC = b"PSAM"
PREFIX = struct.Struct("<4sHHIQ")
DEVICE_FAILED_EXIT = 70
"""Exit code of a backend whose compute device was lost, so that only a new process can go on."""

ENVIRONMENT_UNUSABLE_EXIT = 71
"""Exit code of a backend whose Python is too old or lacks a library; its last line says which."""

MAX_DIMENSIONS = 4
MAX_NAME_LENGTH = 64

DTYPES: Mapping[str, np.dtype] = {
    name: np.dtype(name).newbyteorder("<")
    for name in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
}
"""The dtypes that may cross, by their name in the header."""

Arrays = Mapping[str, NDArray]


class VersionMismatch(ProtocolError):
    """The two sides come from different versions of PartSAM."""


@dataclass(frozen=True)
class Limits:
    """What a reader accepts; a 10M-face mesh needs about 300 MB of payload."""

    header_bytes: int = 1 << 20
    payload_bytes: int = 2 << 30
    arrays: int = 32


@dataclass(frozen=True)
class Message:
    """One request, event or reply.

    kind: what it asks or tells ("encode", "progress", "result", ...)
    id: the request that it belongs to; 0 where none
    fields: JSON values (no NaN, no infinity)
    arrays: named numpy arrays of the dtypes in `DTYPES`
    """

    kind: str
    id: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict, repr=False)  # logs show no arrays


class ByteSource(Protocol):
    """A raw binary stream to read from: may return fewer bytes than asked for, 0 at its end."""

    def readinto(self, buffer: Any, /) -> int | None: ...


class ByteSink(Protocol):
    """A raw binary stream to write to: may take fewer bytes than given."""

    def write(self, data: Any, /) -> int | None: ...


def write_message(stream: ByteSink, message: Message) -> None:
    """Write `message` to `stream`. Raises ProtocolError for what cannot be sent (dtype, NaN in fields)."""
    arrays = {name: _sendable(name, array) for name, array in message.arrays.items()}
    header = _encode_header(message, arrays)
    payload_bytes = sum(array.nbytes for array in arrays.values())
    limits = Limits()
    if len(header) > limits.header_bytes or payload_bytes > limits.payload_bytes:
        raise ProtocolError(
            f"the message is too large to send ({len(header)} header bytes, {payload_bytes} array bytes); "
            "use a smaller mesh"
        )
    _write_all(stream, PREFIX.pack(MAGIC, PROTOCOL_VERSION, 0, len(header), payload_bytes) + header)
    for array in arrays.values():
        if array.size:
            _write_all(stream, _bytes_of(array))


def read_message(stream: ByteSource, *, limits: Limits | None = None) -> Message | None:
    """Read the next message, or None where the stream ends between two messages.

    Raises ProtocolError for anything else: foreign bytes, another version (VersionMismatch), sizes over
    `limits`, a header that contradicts itself, a stream that ends within a message. After an error the
    position in the stream is unknown: close it.
    """
    limits = limits or Limits()
    prefix = bytearray(PREFIX.size)
    if not _read_all(stream, memoryview(prefix), "prefix", may_end=True):
        return None
    header_bytes, payload_bytes = _check_prefix(prefix, limits)
    header = bytearray(header_bytes)
    _read_all(stream, memoryview(header), "header")
    message, specs = _decode_header(header, limits)
    declared = sum(math.prod(shape) * dtype.itemsize for _, dtype, shape in specs)
    if declared != payload_bytes:
        raise ProtocolError(f"the arrays need {declared} bytes, but the message announces {payload_bytes}")
    arrays = {name: _read_array(stream, name, dtype, shape) for name, dtype, shape in specs}
    return Message(message.kind, message.id, message.fields, arrays)


def content_hash(arrays: Arrays) -> str:
    """Hash of names, dtypes, shapes and values of `arrays`, 32 hexadecimal digits. About 1 GB/s."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = _sendable(name, arrays[name])
        digest.update(f"{name}|{array.dtype.name}|{array.shape}|".encode())
        if array.size:
            digest.update(_bytes_of(array))
    return digest.hexdigest()


def _sendable(name: str, array: NDArray) -> NDArray:
    dtype = DTYPES.get(array.dtype.name)
    if dtype is None:
        raise ProtocolError(f"array {name!r} has dtype {array.dtype}, which the protocol does not carry")
    if array.ndim > MAX_DIMENSIONS:
        raise ProtocolError(
            f"array {name!r} has {array.ndim} dimensions; at most {MAX_DIMENSIONS} are carried"
        )
    if array.ndim == 0:  # ascontiguousarray would make it one-dimensional
        return array.astype(dtype)
    return np.ascontiguousarray(array, dtype=dtype)


def _bytes_of(array: NDArray) -> memoryview:
    """The memory of a non-empty contiguous array as bytes, without a copy."""
    return array.reshape(-1).view(np.uint8).data


def _encode_header(message: Message, arrays: Arrays) -> bytes:
    header = {
        "kind": message.kind,
        "id": message.id,
        "fields": dict(message.fields),
        "arrays": [[name, array.dtype.name, list(array.shape)] for name, array in arrays.items()],
    }
    try:
        return json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"the fields of a {message.kind!r} message cannot be sent: {error}") from error


def _check_prefix(prefix: bytearray, limits: Limits) -> tuple[int, int]:
    magic, version, _, header_bytes, payload_bytes = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise ProtocolError(f"not a PartSAM message: it starts with {bytes(prefix[:8])!r}")
    if version != PROTOCOL_VERSION:
        raise VersionMismatch(
            f"the other side speaks protocol version {version}, this side version {PROTOCOL_VERSION}; "
            "update PartSAM and restart Blender so that both come from the same installation"
        )
    if header_bytes > limits.header_bytes:
        raise ProtocolError(f"a header of {header_bytes} bytes exceeds the limit of {limits.header_bytes}")
    if payload_bytes > limits.payload_bytes:
        raise ProtocolError(f"{payload_bytes} array bytes exceed the limit of {limits.payload_bytes}")
    return header_bytes, payload_bytes


ArraySpec = tuple[str, np.dtype, tuple[int, ...]]


def _decode_header(data: bytearray, limits: Limits) -> tuple[Message, list[ArraySpec]]:
    try:
        header = json.loads(data.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the header is not JSON: {error}") from error
    expected = {"kind": str, "id": int, "fields": dict, "arrays": list}
    if not isinstance(header, dict) or any(
        not isinstance(header.get(name), kind) or isinstance(header.get(name), bool)
        for name, kind in expected.items()
    ):
        raise ProtocolError("the header lacks one of kind, id, fields, arrays, or has a wrong type there")
    if len(header["arrays"]) > limits.arrays:
        raise ProtocolError(f"{len(header['arrays'])} arrays exceed the limit of {limits.arrays}")
    specs = [_decode_spec(spec) for spec in header["arrays"]]
    if len({name for name, _, _ in specs}) != len(specs):
        raise ProtocolError("two arrays have the same name")
    return Message(header["kind"], header["id"], header["fields"]), specs


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not allowed")


def _decode_spec(spec: object) -> ArraySpec:
    if not (isinstance(spec, list) and len(spec) == 3):
        raise ProtocolError(f"an array is announced as {spec!r:.200} instead of [name, dtype, shape]")
    name, dtype, shape = spec
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH:
        raise ProtocolError(f"{name!r:.200} is not an array name")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ProtocolError(f"array {name!r} has dtype {dtype!r:.200}, which the protocol does not carry")
    sizes_valid = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    if not sizes_valid or len(shape) > MAX_DIMENSIONS:
        raise ProtocolError(f"array {name!r} has shape {shape!r:.200}")
    return name, DTYPES[dtype], tuple(shape)


def _read_array(stream: ByteSource, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> NDArray:
    try:
        array = np.empty(shape, dtype=dtype)
    except (MemoryError, ValueError, OverflowError) as error:
        raise ProtocolError(f"no memory for array {name!r} of shape {shape}: {error}") from error
    if array.size:
        _read_all(stream, _bytes_of(array), f"array {name!r}")
        # Any byte but 0 and 1 would be a bool that is neither True nor False.
        if dtype.kind == "b" and array.view(np.uint8).max() > 1:
            raise ProtocolError(f"array {name!r} is bool but holds bytes other than 0 and 1")
    return array


def _read_all(stream: ByteSource, buffer: memoryview, what: str, *, may_end: bool = False) -> bool:
    """Fill `buffer`; False where the stream ended before its first byte and `may_end`."""
    done = 0
    while done < len(buffer):
        count = stream.readinto(buffer[done:])
        if not count:
            if may_end and done == 0:
                return False
            raise ProtocolError(f"the stream ended within a message ({what}: {done} of {len(buffer)} bytes)")
        done += count
    return True


def _write_all(stream: ByteSink, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while len(view):
        written = stream.write(view)
        view = view[written or 0 :]
