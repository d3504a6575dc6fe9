# SPDX-License-Identifier: GPL-3.0-or-later
"""What we made of parts, so that a second press updates it and nothing of the user's is overwritten.

Blender's names are no proof: a vertex group called like a part may be the user's, and ours may have got
another name. So each mesh keeps a record of what was made of which part. What the user has changed by hand
since then is the user's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import bpy
import numpy as np

Value = str | int | float | bpy.types.ID
Record = dict[str, Value]


def read_records(owner: bpy.types.ID, kind: str) -> dict[int, Record]:
    """What was made of each part id: `kind` is vertex_groups, ..."""
    stored = owner.get(_key(kind))
    if stored is None or not hasattr(stored, "items"):
        return {}
    return {int(part_id): dict(record.items()) for part_id, record in stored.items()}


def write_records(owner: bpy.types.ID, kind: str, records: Mapping[int, Record]) -> None:
    """Replace the records of `kind`."""
    owner[_key(kind)] = {str(part_id): dict(record) for part_id, record in records.items()}


def read_made(owner: bpy.types.ID, kind: str) -> Value | None:
    """The one thing of `kind` that was made of all parts, as a name, number or data-block."""
    return owner.get(_key(kind))


def write_made(owner: bpy.types.ID, kind: str, value: Value) -> None:
    """Keep in mind what was made; a data-block is used by `owner` from then on, so that it stays."""
    owner[_key(kind)] = value


def forget_made(owner: bpy.types.ID, kind: str) -> None:
    """Let `owner` count as something that nothing was made of."""
    if _key(kind) in owner:
        del owner[_key(kind)]


def digest(*arrays: np.ndarray) -> str:
    """Short hash of arrays, to notice changes by hand."""
    state = hashlib.blake2b(digest_size=8)
    for array in arrays:
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()


def _key(kind: str) -> str:
    return f"partsam_made_{kind}"
