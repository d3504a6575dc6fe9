# SPDX-License-Identifier: GPL-3.0-or-later
"""Texture files beside OBJ and PLY meshes, as images that glTF can hold."""

from __future__ import annotations

import io
from pathlib import Path

from .scene import Image


def read_texture(path: Path) -> Image:
    """Read a picture; PNG and JPEG stay byte for byte, other formats become PNG. OSError if unreadable."""
    data = path.read_bytes()
    if data.startswith(b"\x89PNG"):
        return Image("image/png", data, path.stem)
    if data.startswith(b"\xff\xd8\xff"):
        return Image("image/jpeg", data, path.stem)
    import PIL.Image

    converted = io.BytesIO()
    try:
        with PIL.Image.open(io.BytesIO(data)) as picture:
            picture.save(converted, format="PNG")
    except (ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise OSError(f"{path.name} is not a picture that can be read") from error
    return Image("image/png", converted.getvalue(), path.stem)
