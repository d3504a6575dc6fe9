# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a request's fields and arrays, with a ProtocolError that names what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ProtocolError
from .protocol import Message


def text(message: Message, name: str, default: str | None = None) -> str:
    value = message.fields.get(name, default)
    if not isinstance(value, str) or not value:
        raise _wrong(message, name, "a non-empty string")
    return value


def optional_text(message: Message, name: str) -> str | None:
    return None if message.fields.get(name) is None else text(message, name)


def number(message: Message, name: str, *, low: float, high: float) -> float:
    value = message.fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise _wrong(message, name, f"a number from {low} to {high}")
    return float(value)


def optional_number(message: Message, name: str, *, low: float, high: float) -> float | None:
    return None if message.fields.get(name) is None else number(message, name, low=low, high=high)


def integer(message: Message, name: str, *, low: int, high: int) -> int:
    value = message.fields.get(name)
    if type(value) is not int or not low <= value <= high:
        raise _wrong(message, name, f"a whole number from {low} to {high}")
    return value


def flag(message: Message, name: str) -> bool:
    value: Any = message.fields.get(name, False)
    if not isinstance(value, bool):
        raise _wrong(message, name, "true or false")
    return value


def array(message: Message, name: str, *, columns: int | None = None, integers: bool = False) -> NDArray:
    """The array `name`: [n], or [n, columns]; of integers or of real numbers."""
    value = message.arrays.get(name)
    if value is None:
        raise _wrong(message, name, "sent with it as an array")
    wanted_shape = value.ndim == 1 if columns is None else value.ndim == 2 and value.shape[1] == columns
    wanted_type = np.issubdtype(value.dtype, np.integer if integers else np.floating)
    if not (wanted_shape and wanted_type):
        shape = "[n]" if columns is None else f"[n, {columns}]"
        found = f"{value.dtype.name} {list(value.shape)}"
        raise _wrong(message, name, f"{'integers' if integers else 'floats'} {shape}, but is {found}")
    return value


def _wrong(message: Message, name: str, wanted: str) -> ProtocolError:
    return ProtocolError(f"the {message.kind!r} request needs {name!r} to be {wanted}")
