# SPDX-License-Identifier: GPL-3.0-or-later
"""Texture files beside OBJ and PLY meshes, as images that glTF can hold."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .surface import Image

if TYPE_CHECKING:
    import PIL.Image


def read_texture(path: Path) -> Image:
    """Read a picture; PNG and JPEG stay byte for byte, other formats become PNG. OSError if unreadable."""
    return read_texture_bytes(path.read_bytes(), path.stem)


def read_texture_bytes(data: bytes, name: str) -> Image:
    """`read_texture` of a picture's bytes."""
    if data.startswith(b"\x89PNG"):
        return Image("image/png", data, name)
    if data.startswith(b"\xff\xd8\xff"):
        return Image("image/jpeg", data, name)
    with _opened(Image("", data, name)) as picture:
        return _as_png(picture, name)


def check_picture(image: Image) -> None:
    """Decode a picture; OSError if that fails."""
    with _opened(image):
        pass


def is_grey(image: Image) -> bool:
    """Whether a picture has one channel, or three that are equal. OSError if unreadable."""
    with _opened(image) as picture:
        if len(picture.getbands()) < 3:
            return True
        red, green, blue = picture.convert("RGB").resize((32, 32)).split()
        return red.tobytes() == green.tobytes() == blue.tobytes()


def with_opacity(color: Image | None, opacity: Image) -> Image:
    """A picture whose alpha is the brightness, or the alpha, of another; white without `color`."""
    import PIL.Image

    with _opened(opacity) as mask:
        if color is not None and color.data == opacity.data and "A" in mask.getbands():
            return color
        alpha = mask.getchannel("A") if "A" in mask.getbands() else mask.convert("L")
        if color is None:
            joined = PIL.Image.new("RGB", alpha.size, "white")
        else:
            with _opened(color) as picture:
                joined = picture.convert("RGB")
        joined.putalpha(alpha.resize(joined.size))
    return _as_png(joined, color.name if color else opacity.name)


def packed_maps(*, roughness: Image | None, metal: Image | None) -> Image:
    """glTF's map of both: roughness in green, metalness in blue; white where there is none."""
    import PIL.Image

    channels = {}
    for kind, image in (("roughness", roughness), ("metal", metal)):
        if image is not None:
            with _opened(image) as picture:
                channels[kind] = picture.convert("L")
    size = max(channel.size for channel in channels.values())
    white = PIL.Image.new("L", size, 255)
    green, blue = (channels.get(kind, white).resize(size) for kind in ("roughness", "metal"))
    return _as_png(PIL.Image.merge("RGB", (white, green, blue)), "metallicRoughness")


@contextmanager
def _opened(image: Image) -> Iterator[PIL.Image.Image]:
    """The decoded picture; whatever is wrong with its bytes becomes an OSError."""
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(image.data or b"")) as picture:
            picture.load()
            yield picture
    except (ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise OSError(f"{image.name} is not a picture that can be read") from error


def _as_png(picture: PIL.Image.Image, name: str) -> Image:
    converted = io.BytesIO()
    picture.save(converted, format="PNG")
    return Image("image/png", converted.getvalue(), name)
